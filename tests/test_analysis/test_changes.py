# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
from scipy.stats import binomtest

from mmhkt.analysis import (accuracy_by_class, better_and_worse, calibration,
                            score_by_part, won_and_lost)
from mmhkt.evaluation import ImageSums


def test_accuracy_by_class():
    found = accuracy_by_class(
        np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1]), classes=3)
    assert found[:2] == pytest.approx([.5, .5]) and np.isnan(found[2])


def test_won_and_lost():
    child = np.array([1, 1, 1, 0, 1, 0, 1], bool)
    alone = np.array([1, 0, 0, 1, 0, 0, 0], bool)
    parent = np.array([1, 1, 0, 0, 1, 1, 1], bool)
    found = won_and_lost(child, alone, parent)
    assert list(found['won']) == [1, 2, 4, 6] and list(found['lost']) == [3]
    assert found['p'] == pytest.approx(binomtest(1, 5).pvalue)
    assert found['parent_right'] == dict(
        all=pytest.approx(5 / 7), won=.75, lost=0.)
    found = won_and_lost(child, child)
    assert found['p'] == 1 and found['parent_right']['won'] is None


def test_better_and_worse():
    child = np.array([5., 3., 9., 2., 1., np.nan, 7.])
    alone = np.array([4., 5., 5., 2., 9., 1.0, 4.])
    parent = np.array([6., 6., 4., 9., 9., 1., 5.])
    found = better_and_worse(child, alone, parent)
    # The most won first: 9 to 5, 7 to 4, 5 to 4
    assert list(found['won']) == [2, 6, 0] and list(found['lost']) == [4, 1]
    assert found['parent_right'] == dict(
        all=pytest.approx(4 / 6), won=pytest.approx(2 / 3), lost=.5)
    less = better_and_worse(child, alone, higher=False)
    assert list(less['won']) == [4, 1] and less['parent_right']['won'] is None
    assert less['p'] == found['p']
    assert better_and_worse(alone, alone)['p'] == 1
    # By hand: of 5 differences all positive, 2 of 32 signs are as extreme.
    up = np.arange(1., 6)
    assert better_and_worse(2 * up, up)['p'] == pytest.approx(2 / 32)


def test_score_by_part():
    areas = ImageSums(
        np.array([[1, 0, 0], [2, 0, 5]]), np.array([[4, 0, 5], [4, 0, 5]]),
        100.)
    found = score_by_part({'mIoU': areas}, 'mIoU', ['sky', 'sea', 'car'])
    assert found['sky'] == 37.5 and found['car'] == 50
    assert np.isnan(found['sea'])
    # Of one image alone, over the classes that it has
    assert areas.by_image() == pytest.approx([12.5, 75])
    assert list(score_by_part({'mIoU': areas}, 'mIoU', [])) == ['0', '1', '2']
    one = ImageSums(np.array([[3.], [5.]]), np.array([[2.], [2.]]), 1.)
    assert score_by_part({
        'EPE': one,
        's10-40': one
    }, 'EPE', []) == {
        's10-40': 2.0
    }
    assert score_by_part({'aAcc': one}, 'aAcc', []) == {}
    volumes = {'mDice': ImageSums(np.eye(2), np.ones((2, 2)), 100.)}
    volumes.update({'Dice.liver': one, 'Dice.tumour': one, 'IoU.liver': one})
    assert score_by_part(volumes, 'mDice', ['a', 'b', 'c']) == {
        'liver': 50,
        'tumour': 50
    }


def test_calibration_by_hand():
    scores = np.array([[.9, .1], [.95, .05], [.4, .6], [1., 0.]])
    found = calibration(scores, np.array([0, 1, 1, 0]), bins=5)
    # 0.6 in (0.4, 0.6], the others in (0.8, 1]
    assert list(found['count']) == [0, 0, 1, 0, 3]
    assert found['confidence'][4] == pytest.approx(2.85 / 3)
    assert found['accuracy'][4] == pytest.approx(2 / 3)
    assert found['ece'] == pytest.approx(.25 * .4 + .75 * (.95 - 2 / 3))


def test_calibration_as_numpy_has_it():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(4), 500)
    labels = rng.integers(0, 4, 500)
    confidence, right = scores.max(1), scores.argmax(1) == labels
    ece = 0.
    for low in np.arange(15) / 15:
        chosen = (confidence > low) & (confidence <= low + 1 / 15)
        if chosen.any():
            ece += chosen.mean() * abs(right[chosen].mean() -
                                       confidence[chosen].mean())
    assert calibration(scores, labels)['ece'] == pytest.approx(ece)
