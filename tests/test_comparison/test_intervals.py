# Copyright (c) mmhkt authors. All rights reserved.
import gc

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.weightstats import ttost_paired

from mmhkt.comparison.intervals import (ENOUGH_SEEDS, holm, over_seeds,
                                        over_seeds_and_images)


def test_seeds_as_scipy_has_them():
    one, other = np.random.default_rng(0).normal(70, 1, (2, 5))
    found = over_seeds(one - other, margin=1.5)
    test = stats.ttest_rel(one, other)
    assert found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx(test.confidence_interval())
    assert found.mean == pytest.approx((one - other).mean())
    both = [
        stats.ttest_1samp(one - other, bound, alternative=side).pvalue
        for bound, side in ((-1.5, 'greater'), (1.5, 'less'))
    ]
    assert found.p_equivalent == pytest.approx(max(both))
    assert found.p_equivalent == pytest.approx(
        ttost_paired(one, other, -1.5, 1.5)[0])


@pytest.mark.parametrize('differences', [[], [1.], [2., 2.], [2., 2. + 1e-9]])
def test_seeds_that_say_nothing(differences):
    assert over_seeds(differences, resolution=1e-6) is None


def squares(values):
    """Mean squares of seeds, images and the rest, by statsmodels."""
    seeds, images = np.indices(values.shape)
    table = pd.DataFrame(
        dict(y=values.ravel(), seed=seeds.ravel(), image=images.ravel()))
    return anova_lm(ols('y ~ C(seed) + C(image)', table).fit()).mean_sq


@pytest.mark.parametrize('seed_effect', [0.0, 3.0])
def test_seeds_and_images_by_an_analysis_of_variance(seed_effect):
    rng = np.random.default_rng(1)
    values = (
        rng.normal(0, 1, (3, 8)) + rng.normal(0, 2, 8) +
        seed_effect * np.array([[-1.], [0], [1]]))
    of_seeds, of_images, rest = squares(values)
    assert of_images > rest
    square = of_images
    unsure = of_images**2 / 7
    assert (of_seeds > rest) == (seed_effect > 0)
    if seed_effect:
        square += of_seeds - rest
        unsure += of_seeds**2 / 2
    t = stats.t(
        square**2 / unsure, loc=values.mean(), scale=np.sqrt(square / 24))
    found = over_seeds_and_images(values, margin=4.)
    assert (found.low, found.high) == pytest.approx(t.interval(.95))
    assert found.p == pytest.approx(2 * min(t.cdf(0), t.sf(0)))
    assert found.p_equivalent == pytest.approx(max(t.cdf(-4), t.sf(4)))


def test_it_has_a_width_where_the_seeds_agree():
    """One image of 36, the same in all seeds, or another one in each."""
    same, each = np.zeros((2, 3, 36))
    same[:, 0] = 100
    each[[0, 1, 2], [0, 1, 2]] = 100
    for values in (same, each):
        found = over_seeds_and_images(values)
        assert found.mean == pytest.approx(100 / 36)
        assert found.low < 0 < found.high
    # Of the images of one run: 2.78 ± t * standard error
    half = stats.t(35).ppf(.975) * same[0].std(ddof=1) / 6
    assert over_seeds_and_images(same).high == pytest.approx(100 / 36 + half)
    assert over_seeds_and_images(np.ones((3, 4))) is None
    assert over_seeds_and_images(np.ones((1, 4))) is None


def test_holm_by_hand():
    # 0.01 * 4, max(that, 0.02 * 3), max(that, 0.03 * 2), 0.5
    assert holm([.02, .01, .5, .03]) == pytest.approx([.06, .04, .5, .06])
    assert holm([.02, None]) == [.04, None] and holm([]) == []


def claims(values):
    """Which differences (methods, seeds, images) would be called real."""
    p = []
    for difference in values:
        found = (over_seeds(difference.mean(1)),
                 over_seeds_and_images(difference))
        p.append(max((i.p for i in found if i), default=None))
    return [x is not None and x < .05 for x in holm(p)]


@pytest.mark.slow
@pytest.mark.parametrize('seeds', [ENOUGH_SEEDS, 5])
@pytest.mark.parametrize('of_images, of_seeds', [(0, 0), (2, 1)])
def test_tables_in_which_nothing_has_an_effect(seeds, of_images, of_seeds):
    """Ten methods that are as good as the reference on all images that there
    are: one table of twenty at most may claim a difference. That a method is
    lucky with the test set's images is seen by the second test alone."""
    gc.freeze()  # statsmodels collects garbage in every adjustment
    rng = np.random.default_rng(0)
    tables, images, wrong, better = 500, 64, 0, 0
    for _ in range(tables):
        scores = (
            rng.normal(0, 1, (11, seeds, images)) +
            rng.normal(0, (of_images / seeds)**.5,
                       (11, 1, images)) + rng.normal(0,
                                                     (of_seeds / images)**.5,
                                                     (11, seeds, 1)))
        differences = scores[1:] - scores[:1]
        claimed = claims(differences)
        wrong += any(claimed)
        better += any(c and d.mean() > 0 for c, d in zip(claimed, differences))
    gc.unfreeze()
    assert better <= wrong <= 0.05 * tables
