# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest

from mmhkt.datasets import Digits

pytest.importorskip('sklearn')


def test_split():
    train, test = Digits(), Digits('test')
    assert (len(train), len(test)) == (1198, 599)
    assert train.CLASSES == test.CLASSES == tuple('0123456789')
    # each class is there by its share
    counts = [np.bincount(d.get_gt_labels()) for d in (train, test)]
    share = counts[1] / (counts[0] + counts[1])
    assert share == pytest.approx(np.full(10, 1 / 3), abs=0.005)


def test_the_split_is_the_same_each_time():
    from sklearn.datasets import load_digits
    train, test = Digits(), Digits('test')
    assert np.array_equal(train._images, Digits()._images)
    # together, the two parts are the whole set
    both = np.concatenate([train._images, test._images]).astype(int)
    whole = np.round(load_digits().images * 255 / 16).astype(int)
    assert np.array_equal(np.unique(both, axis=0), np.unique(whole, axis=0))
    # fails once scikit-learn draws otherwise: figures then compare no longer
    assert train.get_gt_labels()[:10].tolist() == [
        6, 6, 1, 1, 0, 2, 7, 0, 4, 0
    ]


def test_samples():
    sample = Digits(indices=[7])[0]
    img = sample['img']
    assert img.shape == (8, 8, 3) and img.dtype == np.uint8
    assert np.array_equal(img[..., 0], img[..., 2])
    images = Digits()._images
    assert (images.min(), images.max()) == (0, 255)


def test_bad_split():
    with pytest.raises(ValueError, match="'train' or 'test', got 'val'"):
        Digits('val')
