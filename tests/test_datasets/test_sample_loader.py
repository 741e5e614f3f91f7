# Copyright (c) mmhkt authors. All rights reserved.
import copy
import pickle
import random
import traceback
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, DefaultSampler, InfiniteSampler
from mmengine.hooks import DistSamplerSeedHook
from mmengine.runner import Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from mmpretrain.datasets import RepeatAugSampler
from mmpretrain.engine.hooks import SwitchRecipeHook
from torch.utils.data import (BatchSampler, DataLoader, Dataset,
                              IterableDataset, SequentialSampler,
                              get_worker_info)

from mmhkt.datasets import SampleLoader
from mmhkt.utils import seed_cpu

LENGTH = 10
PERSISTENT = dict(num_workers=2, persistent_workers=True)
WORKERS = [dict(), dict(num_workers=2), PERSISTENT]


@pytest.fixture(autouse=True)
def common_generators():
    """As they were, for other tests."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


class Noisy(Dataset):
    """Samples that tell their number and one draw of every generator."""

    def __getitem__(self, index):
        return np.array([
            index,
            random.random(),
            np.random.rand(),
            torch.rand(1, dtype=torch.float64).item()
        ])

    def __len__(self):
        return LENGTH


class Untold:
    """A sampler that can neither be told the epoch nor skip."""

    def __init__(self, dataset, seed=None):
        self.size = len(dataset)

    def __iter__(self):
        return iter(range(self.size))

    def __len__(self):
        return self.size


class Forgetful(Untold):
    """An endless sampler that keeps nothing of what it is told."""

    def set_epoch(self, epoch):
        pass

    def skip(self, num_samples):
        self._begin = num_samples

    def __iter__(self):
        number = vars(self).pop('_begin', 0)
        while True:
            yield number % self.size
            number += 1


class Pairs(BatchSampler):
    """A batch sampler of the user's own."""

    def __init__(self, sampler, batch_size):
        super().__init__(sampler, 2, drop_last=True)


def loader(sampler=DefaultSampler, seed=5, check=None, **options):
    """As a runner builds one."""
    cfg = dict(
        dataset=dict(type=Noisy),
        sampler=dict(type=sampler),
        batch_size=4,
        collate_fn=dict(type='default_collate'),
        **options)
    plain = Runner.build_dataloader(cfg, seed=5 if seed is None else seed)
    return SampleLoader.of(plain, seed, check)


def sample(index, *key):
    """What the data set gives under a key."""
    seed_cpu(*key)
    return Noisy()[index]


def epoch_of(found, epoch, disturb=False):
    """An epoch's batches in one array; what is told is the epoch."""
    found.sampler.set_epoch(epoch)
    batches = []
    for batch in found:
        batches.append(batch.numpy())
        if disturb:
            # What a method, a model or a hook may do in between.
            random.random(), np.random.rand(3), torch.rand(7)
            torch.manual_seed(0)
    assert len(batches) == len(found) == 3
    return np.concatenate(batches)


def draw(found, count, skip=0):
    """Batches in one array, as a loop by iterations takes them."""
    batches = _InfiniteDataloaderIterator(found)
    batches.skip_iter(skip)
    return np.concatenate([next(batches).numpy() for _ in range(count)])


def test_no_two_samples_share_their_numbers():
    samples = epoch_of(loader(), 0)
    assert sorted(samples[:, 0]) == list(range(LENGTH))
    assert len(np.unique(samples[:, 1:])) == 3 * LENGTH


@pytest.mark.parametrize('options', WORKERS)
def test_the_samplers_order_with_numbers_of_their_key(options):
    order = DefaultSampler(Noisy(), seed=5)
    found = loader(**options)
    for epoch in (0, 3):
        order.set_epoch(epoch)
        expected = [
            sample(index, 5, epoch, 0, number)
            for number, index in enumerate(order)
        ]
        assert np.array_equal(epoch_of(found, epoch), expected)


def test_the_same_when_begun_at_a_later_epoch():
    through = loader()
    epochs = [epoch_of(through, epoch) for epoch in range(4)]
    resumed = loader()
    for epoch in (2, 3):
        assert np.array_equal(epoch_of(resumed, epoch), epochs[epoch])
    # and when repeated
    assert np.array_equal(epoch_of(resumed, 1), epochs[1])


def test_the_same_whatever_else_draws_numbers():
    quiet = epoch_of(loader(), 1)
    random.seed(9), np.random.seed(9), torch.manual_seed(9)
    assert np.array_equal(epoch_of(loader(), 1, disturb=True), quiet)


def test_different_between_epochs_and_seeds():
    # of neighbouring seeds the sampler's own orders are an epoch apart
    runs = [epoch_of(loader(seed=seed), epoch) for seed in (5, 50)
            for epoch in (0, 1)]  # yapf: disable
    for i, one in enumerate(runs):
        for other in runs[:i]:
            assert not np.array_equal(one[:, 0], other[:, 0])
            assert not np.intersect1d(one[:, 1:], other[:, 1:]).size


def test_an_image_is_augmented_differently_in_every_epoch():
    found = loader()
    one, two = (epoch_of(found, epoch) for epoch in (0, 1))
    one, two = (x[x[:, 0].argsort()] for x in (one, two))
    assert (one[:, 1:] != two[:, 1:]).all()


@pytest.mark.parametrize('options', WORKERS)
@pytest.mark.parametrize('sampler', [InfiniteSampler, Forgetful])
def test_endless_samplers(sampler, options):
    """Two rounds through the data of which no two samples are alike."""
    samples = draw(loader(sampler, **options), 5)
    assert sorted(samples[:10, 0]) == sorted(samples[10:, 0]) == list(
        range(LENGTH))
    assert len(np.unique(samples[:, 1:])) == 3 * len(samples)
    assert np.array_equal(samples[17], sample(samples[17, 0], 5, 0, 0, 17))
    # interrupted after three batches
    resumed = draw(loader(sampler, **options), 2, skip=3)
    assert np.array_equal(resumed, samples[12:])


def test_a_sampler_that_cannot_skip_is_drawn_through(monkeypatch):
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda _: None)
    # Two epochs, of which the second begins with sample 10.
    samples = draw(loader(Untold), 5)
    assert np.array_equal(samples[-1], sample(7, 5, 1, 0, 7))
    resumed = draw(loader(Untold), 1, skip=4)
    assert np.array_equal(resumed, samples[-4:])


@pytest.mark.parametrize('sampler', [DefaultSampler, Untold, RepeatAugSampler])
@pytest.mark.parametrize('options', [{}, dict(batch_sampler=dict(type=Pairs))])
def test_every_sampler_is_told_the_epoch(sampler, options):
    """By mmengine's own hook, also in a batch sampler of the user's own."""
    found = loader(sampler, **options)
    run = SimpleNamespace(
        train_loop=SimpleNamespace(dataloader=found), epoch=2)
    DistSamplerSeedHook().before_train_epoch(run)
    first = next(iter(found))[1]
    assert np.array_equal(first, sample(int(first[0]), 5, 2, 0, 1))


@pytest.mark.parametrize('options', WORKERS)
def test_a_batch_sampler_of_the_users_own(options):
    found = loader(batch_sampler=dict(type=Pairs), **options)
    assert type(found.batch_sampler) is Pairs
    batches = [batch.numpy() for batch in found]
    assert [len(batch) for batch in batches] == [2] * 5 == [2] * len(found)
    order = DefaultSampler(Noisy(), seed=5)
    assert np.array_equal(
        np.concatenate(batches),
        [sample(index, 5, 0, 0, number) for number, index in enumerate(order)])


def test_samples_that_are_not_batched():
    found = SampleLoader.of(
        DataLoader(Noisy(), batch_size=None, shuffle=False), seed=5)
    for number, one in enumerate(found):
        assert np.array_equal(one, sample(number, 5, 0, 0, number))
    assert number == LENGTH - 1


def test_last_batch_and_pinned_memory():
    samples = [*loader(drop_last=True, pin_memory=True)]
    assert [len(batch) for batch in samples] == [4, 4]


def test_ranks_have_numbers_of_their_own(monkeypatch):
    monkeypatch.setattr('mmhkt.datasets.sample_loader.get_rank', lambda: 3)
    first = next(iter(loader()))[0]
    assert np.array_equal(first, sample(int(first[0]), 5, 0, 3, 0))


def test_without_a_seed_nothing_is_seeded():
    checked = []
    found = loader(seed=None, check=checked.append)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    samples = np.concatenate([batch.numpy() for batch in found])
    assert np.array_equal(checked, samples)
    plain = loader(seed=None)
    assert type(plain) is DataLoader
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = np.concatenate([batch.numpy() for batch in plain])
    assert np.array_equal(samples, expected)


def too_large(sample):
    if sample[0] > 7:
        raise ValueError(f'sample {sample[0]:.0f} is too large')


def error_of(batches):
    try:
        next(batches)
    except ValueError as error:
        # Kept, its frames would keep workers that later tests wait for.
        traceback.clear_frames(error.__traceback__)
        return str(error)


@pytest.mark.parametrize('seed', [None, 5])
@pytest.mark.parametrize('options', WORKERS)
def test_a_failing_check_names_its_error(options, seed):
    found = loader(Untold, seed=seed, check=too_large, **options)
    batches = iter(found)
    assert len(next(batches)) == len(next(batches)) == 4
    assert 'sample 8 is too large' in error_of(batches)


def test_everything_is_the_users_own():
    dataset = Noisy()
    sampler = InfiniteSampler(dataset, seed=5)
    plain = DataLoader(
        dataset, batch_size=3, sampler=sampler, timeout=60, num_workers=2)
    found = SampleLoader.of(plain, seed=5)
    assert isinstance(found, DataLoader)
    assert found.dataset is dataset and found.sampler is sampler
    assert found.batch_sampler is plain.batch_sampler
    assert found.batch_sampler.sampler is sampler
    assert (found.batch_size, found.timeout, found.num_workers) == (3, 60, 2)
    assert len(found) == len(plain) == len(iter(found)) == 4
    # The plain one is as it was.
    assert type(plain) is DataLoader and plain.dataset is dataset


def test_a_second_time_changes_nothing():
    found = loader()
    assert SampleLoader.of(found, seed=7) is found


class Piped(BaseDataset):
    """Its samples are what its pipeline makes of 0."""

    def load_data_list(self):
        return [0] * LENGTH

    def get_data_info(self, idx):
        return 0


def plus_one(value):
    return value + 1


def piped(options, **changes):
    dataset = Piped(pipeline=[plus_one])
    return SampleLoader.of(
        DataLoader(dataset, batch_size=5, **options, **changes),
        seed=5,
        check=int)


@pytest.mark.parametrize('options', WORKERS)
def test_what_is_written_to_the_data_set_takes_effect(options):
    found = piped(options)
    seen = [next(iter(found))[0]]
    # The hook of the zoo restarts lasting workers itself.
    run = SimpleNamespace(train_loop=SimpleNamespace(dataloader=found))
    SwitchRecipeHook._switch_train_pipeline(run, lambda value: 10)
    assert found.dataset.pipeline(0) == 10
    seen += [batch[0] for batch in found]
    assert seen == [1, 10, 10]


def mark(worker_id):
    """What the documentation of torch shows: a worker changes its copy."""
    dataset = get_worker_info().dataset
    assert type(dataset) is Piped
    dataset.pipeline = lambda value: 100 + worker_id


@pytest.mark.parametrize('options', WORKERS[1:])
def test_a_worker_knows_the_users_data_set(options):
    batches = [*piped(options, worker_init_fn=mark)]
    assert [batch.tolist() for batch in batches] == [[100] * 5, [101] * 5]


def test_lasting_workers_are_kept_from_epoch_to_epoch():
    found = loader(**PERSISTENT)
    one, workers = epoch_of(found, 0), found._iterator._workers
    assert not np.array_equal(epoch_of(found, 1), one)
    assert found._iterator._workers is workers
    found._iterator = None
    assert np.array_equal(epoch_of(found, 0), one)
    assert found._iterator._workers is not workers


def test_what_workers_get_can_be_pickled():
    """As where they are spawned, not forked."""
    batches = iter(loader(check=np.isfinite))
    fetch, indices = pickle.loads(
        pickle.dumps((batches._dataset, batches._next_index())))
    assert np.array_equal([fetch[keyed] for keyed in indices],
                          next(iter(loader())))


class Stream(IterableDataset):

    def __iter__(self):
        return iter(range(3))


class OwnLoader(DataLoader):
    """A loader of the user's own."""


@pytest.mark.parametrize('plain', [DataLoader(Stream()), OwnLoader(Noisy())])
def test_what_cannot_be_seeded_is_named(plain, monkeypatch):
    lines = []
    monkeypatch.setattr('mmhkt.datasets.sample_loader.print_log',
                        lambda text, **kwargs: lines.append(text))
    assert SampleLoader.of(plain, seed=5) is plain
    assert f'{type(plain).__name__} over a {type(plain.dataset).__name__}' in (
        lines[0])


@pytest.mark.parametrize(
    'copied',
    [copy.deepcopy, lambda sampler: pickle.loads(pickle.dumps(sampler))])
@pytest.mark.parametrize('type_', [DefaultSampler, RepeatAugSampler])
def test_a_copied_sampler_is_told_for_itself(copied, type_):
    sampler = type_(Noisy(), seed=5)
    SampleLoader.of(DataLoader(Noisy(), sampler=sampler), seed=5)
    twin = copied(sampler)
    twin.set_epoch(epoch=3)
    assert (twin.epoch, sampler.epoch) == (3, 0)
    assert list(twin) != list(sampler)


def test_torchs_own_samplers():
    found = SampleLoader.of(DataLoader(Noisy(), batch_size=4), seed=5)
    assert type(found.sampler) is SequentialSampler
    assert np.array_equal(epoch_of(found, 2)[5], sample(5, 5, 2, 0, 5))
