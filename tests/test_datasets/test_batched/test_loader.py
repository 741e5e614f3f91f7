# Copyright (c) mmhkt authors. All rights reserved.
import copy

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.registry import TRANSFORMS
from torch.utils.data import DataLoader, RandomSampler

from mmhkt.datasets import BatchedLoader, SampleLoader
from mmhkt.utils.settings import SettingError

CROP = dict(type='RandomCrop', crop_size=8, padding=1)
FLIP = dict(type='RandomFlip', prob=0.5, direction='horizontal')
PACK = dict(type='PackInputs')
LARGER = dict(type='Resize', scale=12)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def plain(*pipeline, count=70, **options):
    """As a runner builds one."""
    cfg = dict(
        dataset=dict(
            type='mmhkt.Digits', indices=count, pipeline=[*pipeline, PACK]),
        sampler=dict(type='DefaultSampler'),
        batch_size=32)
    cfg.update(options)
    return Runner.build_dataloader(cfg, seed=5)


def loader(*pipeline, seed=5, check=None, **options):
    return BatchedLoader.of(plain(*pipeline, **options), 'cpu', seed, check)


def epoch_of(found, epoch=0):
    found.sampler.set_epoch(epoch)
    return [batch['inputs'] for batch in found]


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize(
    'pipeline', [(), (LARGER, ),
                 (LARGER, dict(type='CenterCrop', crop_size=10))],
    ids=['none', 'resized', 'cropped'])
def test_without_anything_random_it_gives_what_a_plain_loader_gives(pipeline):
    batches = [*loader(*pipeline)]
    expected = [*SampleLoader.of(plain(*pipeline), seed=5)]
    assert len(batches) == len(expected) == 3
    for batch, wanted in zip(batches, expected):
        assert torch.equal(batch['inputs'], torch.stack(wanted['inputs']))
        for sample, other in zip(batch['data_samples'],
                                 wanted['data_samples']):
            assert sample.gt_label == other.gt_label
            assert sample.metainfo == other.metainfo


def test_images_are_augmented_and_keep_their_labels():
    found = loader(CROP, FLIP)
    images = {
        int(sample.sample_idx): (image, int(sample.gt_label))
        for batch in found
        for image, sample in zip(batch['inputs'], batch['data_samples'])
    }
    assert sorted(images) == list(range(70))
    dataset = plain().dataset
    whole = 0
    for i, (image, label) in images.items():
        original = dataset[i]
        assert label == int(original['data_samples'].gt_label)
        padded = torch.nn.functional.pad(original['inputs'], (1, ) * 4)
        windows = padded.unfold(1, 8, 1).unfold(2, 8, 1).flatten(1, 2)
        made = [w for w in windows.unbind(1)]
        made += [w.flip(-1) for w in made]
        assert any(torch.equal(image, w) for w in made)
        whole += torch.equal(image, original['inputs'])
    assert whole < 20  # of 18, some 4 stay as they are


def test_the_same_batches_whatever_happens_in_between():
    found = loader(CROP, FLIP)
    epochs = [epoch_of(found, epoch) for epoch in range(3)]
    assert not same(epochs[0], epochs[1])
    torch.manual_seed(9), np.random.seed(9)
    # resumed, or run by another method
    resumed = loader(CROP, FLIP)
    assert same(epoch_of(resumed, 2), epochs[2])
    assert same(epoch_of(resumed, 0), epochs[0])
    assert not same(epoch_of(loader(CROP, FLIP, seed=6), 0), epochs[0])


def test_a_loop_by_iterations_goes_on_where_it_was():
    sampler = dict(type='InfiniteSampler')
    whole = loader(CROP, FLIP, sampler=sampler)
    batches = [b['inputs'] for b, _ in zip(whole, range(6))]
    resumed = loader(CROP, FLIP, sampler=sampler)
    iterator = _InfiniteDataloaderIterator(resumed)
    iterator.skip_iter(4)
    assert torch.equal(next(iterator)['inputs'], batches[4])


def test_ranks_draw_for_themselves(monkeypatch):
    first = epoch_of(loader(CROP))[0]
    monkeypatch.setattr('mmhkt.datasets.batched.loader.get_rank', lambda: 1)
    assert not torch.equal(epoch_of(loader(CROP))[0], first)


def test_everything_is_the_users_own():
    before = plain(CROP, drop_last=True)
    found = BatchedLoader.of(before, 'cpu', seed=5)
    assert isinstance(found, DataLoader)
    assert found.dataset is before.dataset and found.sampler is before.sampler
    assert found.batch_sampler is before.batch_sampler
    assert found.batch_size == 32 and len(found) == len([*found]) == 2


def test_a_pipeline_that_is_exchanged():
    """As by the zoo's SwitchRecipeHook."""
    found = loader(CROP)
    first = epoch_of(found)
    found.dataset.pipeline = copy.deepcopy(plain(LARGER).dataset.pipeline)
    assert epoch_of(found)[0].shape == (32, 3, 12, 12)
    found.dataset.pipeline = plain(CROP).dataset.pipeline
    assert same(epoch_of(found), first)


def test_what_mixup_makes_of_labels_is_not_kept():
    found = loader()
    for _ in range(2):
        for batch in found:
            for sample in batch['data_samples']:
                assert 'gt_score' not in sample
                sample.set_gt_score(torch.full((10, ), 0.1))


def test_what_a_model_writes_to_a_sample_is_not_kept():
    """mmpretrain's sets labels that are views of a whole batch's, of which
    one would be kept for each image."""
    found = loader()
    preprocessor = ClsDataPreprocessor()
    for batch in found:
        given = preprocessor(batch, True)['data_samples']
        assert given[0].gt_label.untyped_storage().nbytes() > 8
        given[0].set_pred_score(torch.rand(10))
    for batch in found:
        for sample in batch['data_samples']:
            assert sample.gt_label.untyped_storage().nbytes() == 8
            assert 'pred_score' not in sample


def test_an_image_twice_in_a_batch_has_two_samples():
    dataset = plain(count=4).dataset
    sampler = RandomSampler(dataset, replacement=True, num_samples=32)
    found = BatchedLoader.of(DataLoader(dataset, 32, sampler=sampler), 'cpu')
    batch, = found
    assert len({id(sample) for sample in batch['data_samples']}) == 32
    labels = [int(sample.gt_label) for sample in batch['data_samples']]
    own = {
        image.numpy().tobytes(): label
        for image, label in zip(batch['inputs'], labels)
    }
    assert labels == [own[i.numpy().tobytes()] for i in batch['inputs']]


def test_the_shape_is_that_of_what_comes_out():
    found = loader(LARGER, dict(type='RandomCrop', crop_size=(8, 10)))
    batch = next(iter(found))
    assert batch['inputs'].shape == (32, 3, 8, 10)
    assert batch['data_samples'][0].img_shape == (8, 10)


def test_every_sample_is_checked_once():
    checked = []
    found = loader(CROP, check=checked.append)
    assert len(checked) == 70 and checked[3]['inputs'].shape == (3, 8, 8)
    [*found], [*found]
    assert len(checked) == 70


class Undeclared:
    """Random, and does not say so."""

    def __call__(self, results):
        results['img'] = results['img'] + np.uint8(np.random.randint(9))
        return results


@pytest.fixture
def undeclared():
    TRANSFORMS.register_module(module=Undeclared)
    yield dict(type='Undeclared')
    TRANSFORMS.module_dict.pop('Undeclared')


def refusal(*pipeline, **options):
    with pytest.raises(SettingError) as error:
        loader(*pipeline, **options)
    text = str(error.value)
    assert text.startswith('on_device=True') and 'Leave it out' in text
    return text


def test_what_has_no_counterpart_is_named(undeclared):
    assert 'RandomResizedCrop, which' in refusal(
        dict(type='RandomResizedCrop', scale=8))
    assert 'Undeclared, which' in refusal(undeclared)
    # what is fixed has to come first
    assert 'Resize, which' in refusal(FLIP, LARGER)
    assert 'ColorJitter with a hue' in refusal(
        dict(type='ColorJitter', hue=.1))
    assert 'RepeatDataset' in refusal(
        dataset=dict(
            type='mmengine.RepeatDataset',
            times=2,
            dataset=dict(type='mmhkt.Digits', pipeline=[PACK])))
    assert 'NumpyToPIL' in refusal(
        dataset=dict(type='mmhkt.Digits', pipeline=[dict(type='NumpyToPIL')]))
    assert 'batches' in refusal(batch_size=None)


class Inverted(BaseTransform):
    """One that draws, and does not say so."""

    def transform(self, results):
        if np.random.rand() < 0.1:
            results['img'] = 255 - results['img']
        return results


def test_what_draws_without_saying_so_is_refused():
    TRANSFORMS.register_module(module=Inverted)
    try:
        assert 'Inverted, which' in refusal(dict(type='Inverted'))
    finally:
        TRANSFORMS.module_dict.pop('Inverted')


def test_images_of_several_sizes(tmp_path):
    from PIL import Image
    for i, size in enumerate([(8, 8), (8, 9)]):
        folder = tmp_path / f'class{i}'
        folder.mkdir()
        Image.new('RGB', size).save(folder / 'a.png')
    files = dict(
        type='CustomDataset', data_root=str(tmp_path), with_label=True)
    text = refusal(
        dataset=dict(**files, pipeline=[dict(type='LoadImageFromFile'), PACK]))
    assert 'several sizes' in text and '(3, 8, 8)' in text
    small = loader(
        dataset=dict(
            **files,
            pipeline=[dict(type='LoadImageFromFile'), LARGER, FLIP, PACK]))
    assert next(iter(small))['inputs'].shape == (2, 3, 12, 12)
