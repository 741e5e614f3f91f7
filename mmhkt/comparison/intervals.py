# Copyright (c) mmhkt authors. All rights reserved.
"""How far the difference of two methods is known: one question a function.

Every function takes differences, method minus reference, as an array, and
knows nothing of runs.
"""
import gc
import math
from dataclasses import dataclass
from typing import List, Optional, Sequence

import numpy as np
from scipy.stats import t as student_t
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

CONFIDENCE = 0.95
# Fewer seeds get an interval, but no verdict.
ENOUGH_SEEDS = 3


@dataclass(frozen=True)
class Interval:
    """A mean difference and how far it is known.

    Args:
        mean (float): The difference.
        low (float): Lower end of the 95 % confidence interval.
        high (float): Upper end.
        p (float): Of the test that the difference is zero, two-sided.
        p_equivalent (float | None): Of the two one-sided tests (TOST) that it
            is not within the margin; None without a margin.
    """
    mean: float
    low: float
    high: float
    p: float
    p_equivalent: Optional[float] = None


def over_seeds(differences: Sequence[float],
               margin: Optional[float] = None,
               resolution: float = 0.) -> Optional[Interval]:
    """Of other seeds on this test set: the paired t-test.

    Args:
        differences (Sequence[float]): One a seed.
        margin (float, optional): Within which methods count as equivalent.
            Defaults to None.
        resolution (float): Differences that lie no further apart than this
            are the same. Defaults to 0.

    Returns:
        Interval | None: None for fewer than two seeds, and where the
        differences are all the same: then they say nothing of how far another
        seed's would lie from them.
    """
    if len(differences) < 2 or np.ptp(differences) <= resolution:
        return None
    sample = DescrStatsW(np.asarray(differences, dtype=float))
    low, high = sample.tconfint_mean(1 - CONFIDENCE)
    equivalent = None
    if margin is not None:
        equivalent = float(sample.ttost_mean(-margin, margin)[0])
    return Interval(
        float(sample.mean), float(low), float(high),
        float(sample.ttest_mean(0)[1]), equivalent)


def over_seeds_and_images(
        values: np.ndarray,
        margin: Optional[float] = None) -> Optional[Interval]:
    """Of other seeds on another test set of that size and kind.

    A mixed model with crossed random effects of seed and image, as readers
    and cases have in the analysis of diagnostic tests (Hillis, Statistics in
    Medicine 26, 2007, https://doi.org/10.1002/sim.2532): each difference is
    the methods', plus the seed's, plus the image's, plus the rest. The
    variance of the mean is put together of the mean squares of the two-way
    table, its degrees of freedom are Satterthwaite's. No effect's variance is
    taken for negative, so that the interval always has a width. (Three seeds
    can be drawn in ten ways only: a bootstrap over them is too short.)

    Args:
        values (ndarray): (seeds, images): what each image contributes to the
            difference, see :meth:`mmhkt.evaluation.ImageSums.pseudo_values`.
        margin (float, optional): As in :func:`over_seeds`.

    Returns:
        Interval | None: None for fewer than two seeds or images, and where
        all values are the same.
    """
    values = np.asarray(values, dtype=float)
    seeds, images = values.shape
    if min(seeds, images) < 2:
        return None
    of_seeds, of_images = values.mean(1), values.mean(0)
    mean = float(values.mean())
    rest = values - of_seeds[:, None] - of_images + mean
    square_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
    square_seeds = images * of_seeds.var(ddof=1)
    square_images = max(seeds * of_images.var(ddof=1), square_rest)
    square, unsure = square_images, square_images**2 / (images - 1)
    if square_seeds > square_rest:
        square += square_seeds - square_rest
        unsure += square_seeds**2 / (seeds - 1)
    if square <= 0:
        return None
    error = math.sqrt(square / (seeds * images))
    freedom = square**2 / unsure
    half = error * student_t.ppf((1 + CONFIDENCE) / 2, freedom)
    equivalent = None
    if margin is not None:
        equivalent = float(
            max(
                student_t.sf((mean + margin) / error, freedom),
                student_t.cdf((mean - margin) / error, freedom)))
    return Interval(mean, float(mean - half), float(mean + half),
                    float(2 * student_t.sf(abs(mean) / error, freedom)),
                    equivalent)


def holm(probabilities: Sequence[Optional[float]]) -> List[Optional[float]]:
    """p-values of several methods against one reference, adjusted so that the
    chance of a single false claim in the table stays below the level (Holm,
    1979).

    Args:
        probabilities (Sequence[float | None]): One a method; None, of a
            method that could not be tested, counts as one of the table.

    Returns:
        list[float | None]: In their order.
    """
    if not probabilities:
        return []
    filled = [1. if p is None else p for p in probabilities]
    # It collects garbage, for which it looks at all that a report is made of.
    gc.freeze()
    try:
        adjusted = multipletests(filled, method='holm')[1]
    finally:
        gc.unfreeze()
    return [
        None if p is None else float(a)
        for p, a in zip(probabilities, adjusted)
    ]
