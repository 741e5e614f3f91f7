# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
from scipy.stats import binomtest

from mmhkt.analysis import accuracy_by_class, calibration, won_and_lost


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
