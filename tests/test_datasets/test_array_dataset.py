# Copyright (c) mmhkt authors. All rights reserved.
import copy

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS as MMPRETRAIN_DATASETS

from mmhkt.datasets import ArrayDataset

TRAIN, TEST = 6, 3


@pytest.fixture
def arrays():
    """Images whose pixels say which image they are of."""
    rng = np.random.default_rng(0)
    train = rng.integers(0, 255, (TRAIN, 8, 8, 3), dtype=np.uint8)
    train[:, 0, 0, 0] = np.arange(TRAIN)
    return dict(
        train_images=train,
        train_labels=np.array([0, 1, 2, 3, 2, 1]),
        test_images=train[:TEST] + 1,
        test_labels=np.array([3, 2, 1]))


@pytest.fixture
def make(tmp_path):

    def build(arrays, **kwargs):
        np.savez(tmp_path / 'data.npz', **arrays)
        return ArrayDataset('data.npz', data_root=str(tmp_path), **kwargs)

    return build


def test_samples(make, arrays):
    dataset = make(arrays)
    assert len(dataset) == TRAIN
    sample = dataset[4]
    assert sample['gt_label'] == 2 and sample['sample_idx'] == 4
    assert type(sample['gt_label']) is int
    assert sample['img'].dtype == np.uint8
    assert np.array_equal(sample['img'], arrays['train_images'][4])
    assert dataset.CLASSES == ('0', '1', '2', '3')
    assert dataset.get_cat_ids(5) == [1]
    assert 'data.npz' in repr(dataset)


def test_splits(make, arrays):
    test = make(arrays, split='test', test_mode=True)
    assert len(test) == TEST and test[0]['gt_label'] == 3
    assert np.array_equal(test[0]['img'], arrays['test_images'][0])
    # all classes, though the test labels do not show each of them
    assert len(test.CLASSES) == 4

    arrays['val_images'] = arrays['test_images'][:1]
    arrays['val_labels'] = arrays['test_labels'][:1]
    assert len(make(arrays, split='val')) == 1


@pytest.mark.parametrize('serialize_data', [True, False])
@pytest.mark.parametrize('indices, expected', [
    (2, [0, 1]),
    (-2, [4, 5]),
    ([5, 0, 3], [5, 0, 3]),
])
def test_indices(make, arrays, serialize_data, indices, expected):
    subset = make(arrays, indices=indices, serialize_data=serialize_data)
    whole = make(arrays, serialize_data=serialize_data)
    later = whole.get_subset(indices)
    for dataset in (subset, later):
        assert [int(d['img'][0, 0, 0]) for d in dataset] == expected
        assert [d['gt_label']
                for d in dataset] == arrays['train_labels'][expected].tolist()
    assert len(whole) == TRAIN


def test_lazy_init_reads_at_the_first_use(make, arrays):
    dataset = make(arrays, indices=[3, 1], lazy_init=True)
    assert dataset.CLASSES is None
    assert [d['gt_label'] for d in dataset] == [3, 1]
    missing = ArrayDataset('missing.npz', lazy_init=True)
    with pytest.raises(FileNotFoundError):
        missing.full_init()


def test_images_are_held_once_and_given_as_copies(make, arrays):
    dataset = make(arrays)
    subset = dataset.get_subset(2)
    assert np.shares_memory(dataset._images, subset._images)
    subset[0]['img'][:] = 0
    assert np.array_equal(dataset[0]['img'], arrays['train_images'][0])
    # a few hundred bytes a sample would be an image
    assert dataset.data_bytes.nbytes / TRAIN < 100
    assert len(copy.deepcopy(dataset)) == TRAIN


@pytest.mark.parametrize('axis', [False, True])
def test_medmnist_style(make, arrays, axis):
    """Grey images, labels of shape (N, 1)."""
    for split in ('train', 'test'):
        grey = arrays[f'{split}_images'][..., 0]
        arrays[f'{split}_images'] = grey[..., None] if axis else grey
        labels = arrays[f'{split}_labels'].astype(np.uint8)
        arrays[f'{split}_labels'] = labels[:, None]
    sample = make(arrays)[3]
    img = arrays['train_images'][3].reshape(8, 8)
    assert sample['img'].shape == (8, 8, 3) and sample['gt_label'] == 3
    assert np.array_equal(sample['img'], np.stack([img] * 3, -1))


def test_classes(make, arrays, tmp_path):
    names = ['a', 'b', 'c', 'd', 'e']
    assert make(arrays, classes=names).CLASSES == tuple(names)
    metainfo = dict(classes=tuple(names))
    assert make(arrays, metainfo=metainfo).CLASSES == tuple(names)
    # known classes: a file without a training part will do
    del arrays['train_images'], arrays['train_labels']
    assert len(make(arrays, split='test', classes=names)) == TEST
    (tmp_path / 'names.txt').write_text('\n'.join(names))
    test = make(arrays, split='test', classes=str(tmp_path / 'names.txt'))
    assert test.CLASSES == tuple(names)


def test_pipeline_and_workers(make, arrays, tmp_path):
    make(arrays)
    dataset = dict(
        type='mmhkt.ArrayDataset',
        data_root=str(tmp_path),
        data_file='data.npz',
        pipeline=[
            dict(type='RandomCrop', crop_size=8, padding=1),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs')
        ])
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = MMPRETRAIN_DATASETS.build(dataset)
    loader = Runner.build_dataloader(
        dict(
            batch_size=4,
            num_workers=1,
            dataset=dataset,
            sampler=DefaultSampler(dataset, shuffle=False)))
    batches = list(loader)
    assert batches[0]['inputs'][0].shape == (3, 8, 8)
    labels = [int(s.gt_label) for b in batches for s in b['data_samples']]
    assert labels == arrays['train_labels'].tolist()


def test_missing_file(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match='nothing.npz') as error:
        ArrayDataset('nothing.npz', data_root=str(tmp_path))
    assert str(tmp_path / 'nothing.npz') in str(error.value)
    # a relative place is told in full
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        ArrayDataset('nothing.npz', data_root='data')
    assert str(tmp_path / 'data' / 'nothing.npz') in str(error.value)


def change(**new):

    def apply(arrays):
        arrays.update({
            key: value(arrays) if callable(value) else value
            for key, value in new.items()
        })
        return {k: v for k, v in arrays.items() if v is not None}

    return apply


@pytest.mark.parametrize('edit, kwargs, kind, words', [
    (change(train_labels=None), {}, KeyError, ["'train_labels'"]),
    (change(train_images=None, train_image=lambda a: a['train_images']), {},
     KeyError, ["'train_images'", 'test_images', 'nearest: train_image']),
    (change(), dict(split='valid'), KeyError, ["'valid_images'"]),
    (change(train_labels=np.arange(4)), {}, ValueError,
     ['6 train_images', '4 train_labels']),
    (change(train_images=lambda a: a['train_images'] / 255), {}, ValueError,
     ['train_images', 'uint8', 'float64']),
    (change(train_images=lambda a: a['train_images'].reshape(6, -1)), {},
     ValueError, ['train_images', '(N, H, W, 3)', '(6, 192)']),
    (change(train_images=lambda a: a['train_images'].transpose(0, 3, 1, 2)),
     {}, ValueError, ['train_images', '(6, 3, 8, 8)']),
    (change(train_images=lambda a: a['train_images'][:0]), {}, ValueError,
     ['train_images', 'not empty']),
    (change(train_labels=np.arange(6.)), {}, ValueError,
     ['train_labels', 'float64']),
    (change(train_labels=np.eye(6, dtype=int)), {}, ValueError,
     ['train_labels', '(6, 6)']),
    (change(train_labels=np.array([0, 1, 7, 1, 7, 0])),
     dict(classes=list('abcd')), ValueError,
     ['train_labels[2] is 7', '4 classes', '0 and 3', '2 labels']),
    (change(train_labels=np.array([0, 1, 2, 3, -1, 0])), {}, ValueError,
     ['train_labels[4] is -1']),
    (change(test_labels=np.array([0, 9, 0])), dict(split='test'), ValueError,
     ['test_labels[1] is 9', '4 classes']),
    (change(train_labels=np.array([None] * 6)), {}, ValueError,
     ['train_labels', 'cannot be read', 'allow_pickle=False']),
])  # yapf: disable
def test_unfit_arrays(make, arrays, edit, kwargs, kind, words):
    with pytest.raises(kind) as error:
        make(edit(arrays), **kwargs)
    for word in ['data.npz'] + words:
        assert word in str(error.value)


@pytest.mark.parametrize('compress', [False, True])
def test_damaged_files(tmp_path, arrays, compress):
    path = tmp_path / 'data.npz'
    (np.savez_compressed if compress else np.savez)(path, **arrays)
    whole = path.read_bytes()
    for content in (b'', b'no archive', whole[:-100], whole[:200]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='data.npz: not an .npz file'):
            ArrayDataset(str(path))

    broken = bytearray(whole)
    broken[300:310] = bytes(10)
    path.write_bytes(broken)
    with pytest.raises(ValueError, match='train_images cannot be read'):
        ArrayDataset(str(path))


def test_one_array_without_names(tmp_path):
    np.save(tmp_path / 'data.npy', np.zeros(3))
    with pytest.raises(ValueError, match='not an .npz file'):
        ArrayDataset(str(tmp_path / 'data.npy'))


def test_cifar10(cifar10_npz):
    test = ArrayDataset(str(cifar10_npz), split='test')
    assert len(test) == 10000 and len(test.CLASSES) == 10
    assert np.bincount(test.get_gt_labels()).tolist() == [1000] * 10
    assert test[0]['img'].shape == (32, 32, 3)
