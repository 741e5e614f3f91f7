# Copyright (c) mmhkt authors. All rights reserved.
import copy
import pickle
import random
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader, Dataset

from mmhkt.datasets.seeded import SeededDataset, SeededIndex, SeededSampler
from mmhkt.registry import DATA_SAMPLERS, DATASETS

LENGTH = 10


@pytest.fixture(autouse=True)
def no_default_scope(monkeypatch):
    """Names are looked up here as if no run had set a scope before."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())


@DATASETS.register_module(force=True)
class Noisy(Dataset):
    """Samples that tell their number and one draw of every generator."""

    METAINFO = dict(classes=('a', 'b'))

    def __getitem__(self, index):
        return np.array([
            index,
            random.random(),
            np.random.rand(),
            torch.rand(1, dtype=torch.float64).item()
        ])

    def __len__(self):
        return LENGTH


@pytest.fixture(autouse=True)
def common_generators():
    """As they were, for other tests."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def loader(workers=0, seed=5, sampler='DefaultSampler', dataset=None):
    """As mmengine's runner builds one."""
    dataset = dataset or SeededDataset(dict(type='Noisy'))
    sampler = DATA_SAMPLERS.build(
        dict(type='SeededSampler', sampler=dict(type=sampler, shuffle=True)),
        default_args=dict(dataset=dataset, seed=seed))
    return DataLoader(
        dataset, batch_size=4, sampler=sampler, num_workers=workers)


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


def test_no_two_samples_share_their_numbers():
    samples = epoch_of(loader(), 0)
    assert sorted(samples[:, 0]) == list(range(LENGTH))
    assert len(np.unique(samples[:, 1:])) == 3 * LENGTH


def test_the_same_for_any_number_of_workers():
    alone, two = loader(), loader(workers=2)
    for epoch in (0, 1):
        assert np.array_equal(epoch_of(alone, epoch), epoch_of(two, epoch))


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


@pytest.mark.parametrize('workers', [0, 2])
def test_infinite_sampler(workers):
    """Two rounds through the data of which no two samples are alike."""

    def draw(count):
        batches = iter(loader(workers, sampler='InfiniteSampler'))
        return np.concatenate([next(batches).numpy() for _ in range(count)])

    samples = draw(5)
    assert sorted(samples[:10, 0]) == sorted(samples[10:, 0]) == list(
        range(LENGTH))
    assert len(np.unique(samples[:, 1:])) == 3 * len(samples)
    assert np.array_equal(draw(3), samples[:12])


def test_without_a_seed_nothing_is_seeded():
    sampler = SeededSampler(
        dict(type='DefaultSampler', shuffle=False), Noisy(), seed=None)
    assert list(sampler) == list(range(LENGTH))
    assert not any(isinstance(index, SeededIndex) for index in sampler)


def test_the_samplers_order_is_kept():
    plain = DefaultSampler(Noisy(), shuffle=True, seed=5)
    seeded = SeededSampler(
        dict(type='DefaultSampler', shuffle=True), Noisy(), seed=5)
    for epoch in (0, 3):
        plain.set_epoch(epoch)
        seeded.set_epoch(epoch)
        assert list(seeded) == list(plain)
    assert len(seeded) == LENGTH
    assert [index.key for index in seeded] == [(5, 3, 0, number)
                                               for number in range(LENGTH)]


def test_ranks_have_numbers_of_their_own(monkeypatch):
    sampler = SeededSampler(dict(type='InfiniteSampler'), Noisy(), seed=5)
    monkeypatch.setattr('mmhkt.datasets.seeded.get_rank', lambda: 3)
    assert next(iter(sampler)).key == (5, 0, 3, 0)


def test_index():
    index = SeededIndex(7, (5, 0, 0, 1))
    assert index == 7 and isinstance(index, int)
    assert [10, 20, 30, 40, 50, 60, 70, 80][index] == 80
    # workers get it pickled
    for twin in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index)):
        assert type(twin) is SeededIndex
        assert twin == 7 and twin.key == index.key


def test_a_plain_index_draws_from_the_common_generators():
    dataset = SeededDataset(dict(type='Noisy'))
    seeded = [dataset[SeededIndex(2, (5, 0, 0, 1))] for _ in range(2)]
    assert np.array_equal(*seeded)
    plain = [dataset[2] for _ in range(2)]
    assert plain[0][0] == 2 and (plain[0][1:] != plain[1][1:]).all()


def test_both_are_otherwise_what_they_hold():
    dataset = SeededDataset(dict(type='Noisy'))
    assert len(dataset) == LENGTH
    assert dataset.METAINFO == dict(classes=('a', 'b'))
    with pytest.raises(AttributeError, match='CLASSES'):
        dataset.CLASSES
    sampler = SeededSampler(dict(type='InfiniteSampler'), dataset, seed=5)
    assert isinstance(sampler.sampler, InfiniteSampler)
    assert sampler.size == LENGTH and sampler.world_size == 1
    with pytest.raises(AttributeError, match='nothing'):
        sampler.nothing


def test_both_survive_pickling():
    dataset = pickle.loads(pickle.dumps(SeededDataset(dict(type='Noisy'))))
    assert len(dataset) == LENGTH
    sampler = SeededSampler(
        dict(type='DefaultSampler', shuffle=True), dataset, seed=5)
    for twin in (pickle.loads(pickle.dumps(sampler)), copy.deepcopy(sampler)):
        assert list(twin) == list(sampler)


def test_registered():
    dataset = MMENGINE_DATASETS.build(
        dict(type='mmhkt.SeededDataset', dataset=dict(type='mmhkt.Noisy')))
    assert type(dataset) is SeededDataset
