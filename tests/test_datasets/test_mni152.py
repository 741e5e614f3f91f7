# Copyright (c) mmhkt authors. All rights reserved.
import sys

import numpy as np
import pytest

from mmhkt.datasets import MNI152, LoadSliceArrays
from mmhkt.datasets import mni152 as module


@pytest.fixture
def nilearn():
    return pytest.importorskip(
        'nilearn.datasets', reason='nilearn is not installed')


def test_without_nilearn(monkeypatch):
    monkeypatch.setitem(sys.modules, 'nilearn', None)
    module._volume.cache_clear()
    with pytest.raises(ImportError, match=r'pip install "mmhkt\[demo-seg\]"'):
        MNI152()


def test_impossible_arguments():
    with pytest.raises(ValueError, match='"tran" is unknown; nearest: train'):
        MNI152(split='tran')
    for noise in (-0.1, float('nan')):
        with pytest.raises(
                ValueError, match='noise must be a number from 0 on'):
            MNI152(noise=noise)


def test_slices_by_hand(nilearn):
    """Slices to the head, rows to the back, columns to the left; labels from
    the maps."""
    template = nilearn.load_mni152_template(resolution=1)
    assert np.array_equal(template.affine[:3, :3], np.eye(3))
    t1 = np.asarray(template.dataobj)
    grey = np.asarray(nilearn.load_mni152_gm_template(resolution=1).dataobj)
    white = np.asarray(nilearn.load_mni152_wm_template(resolution=1).dataobj)
    info = MNI152(split='val')[9]
    z = int(info['img_path'].removeprefix('mni152-'))
    image, labels = info['img'], info['gt_seg_map']
    assert image.shape == (192, 160, 1) and labels.shape == (192, 160)
    assert image.dtype == labels.dtype == np.uint8
    rng = np.random.default_rng(0)
    for row, column in rng.integers(0, (192, 160), (500, 2)):
        at = t1.shape[0] - 1 - 19 - column, t1.shape[1] - 1 - 20 - row, z
        assert image[row, column, 0] == round(255 * float(t1[at]))
        if max(grey[at], white[at]) < 0.5:
            assert labels[row, column] == 0
        else:
            assert labels[row, column] == (1 if grey[at] >= white[at] else 2)


def test_nothing_of_the_brain_is_cut_off(nilearn):
    brain = np.asarray(nilearn.load_mni152_template(resolution=1).dataobj) > 0
    grey, labels = module._volume(0.)
    assert (grey > 0).sum() == brain.sum()
    shares = np.bincount(labels.ravel()) / (labels > 0).sum()
    assert 0.55 < shares[1] < 0.7 and shares[1] + shares[2] == 1


def test_splits_are_slabs_with_gaps(nilearn):
    slices = {
        split:
        sorted(
            int(info['img_path'].removeprefix('mni152-'))
            for info in MNI152(split=split))
        for split in ('train', 'val', 'test')
    }
    assert [len(s) for s in slices.values()] == [72, 21, 21]
    for one, other in (('train', 'val'), ('val', 'test'), ('test', 'train')):
        distances = np.subtract.outer(slices[one], slices[other])
        assert np.abs(distances).min() == 5
    for split in slices:
        data = MNI152(split=split)
        assert all(info['gt_seg_map'].any() for info in data)
        # As VolumeDice wants it.
        for volume in {info['volume'] for info in data}:
            slab = [info for info in data if info['volume'] == volume]
            assert [info['slice'] for info in slab] == list(range(len(slab)))
            assert {info['slices'] for info in slab} == {len(slab)}


def test_noise_is_always_the_same(nilearn):
    clean, noisy = MNI152(), MNI152(noise=0.1)
    module._volume.cache_clear()
    again = MNI152(noise=0.1)
    assert np.array_equal(noisy[30]['img'], again[30]['img'])
    assert np.array_equal(noisy[30]['gt_seg_map'], clean[30]['gt_seg_map'])
    images = [
        np.stack([info['img'] for info in data]).astype(float)
        for data in (clean, noisy)
    ]
    white = np.stack([info['gt_seg_map'] for info in clean]) == 2
    difference = (images[1] - images[0])[..., 0]
    # Far above it Rician noise is nearly normal, at 0 it is Rayleigh's.
    assert difference[white].std() == pytest.approx(25.5, rel=0.1)
    air = images[0][..., 0] == 0
    assert difference[air].mean() == pytest.approx(
        25.5 * np.sqrt(np.pi / 2), rel=0.02)


def test_loaded_slices_are_copies(nilearn):
    data = MNI152(split='test', serialize_data=False)
    info = data[3]
    results = LoadSliceArrays().transform(dict(info))
    assert results['ori_shape'] == results['img_shape'] == (192, 160)
    assert results['seg_fields'] == ['gt_seg_map']
    results['img'][:] = results['gt_seg_map'][:] = 7
    assert not (info['img'] == 7).all()
    assert not (info['gt_seg_map'] == 7).any()
