# Copyright (c) mmhkt authors. All rights reserved.
"""What a child does otherwise than a child alone: arrays in, arrays out."""
from typing import Dict, Optional, Sequence

import numpy as np
from scipy.stats import wilcoxon
from statsmodels.stats.contingency_tables import mcnemar

from mmhkt.evaluation import ImageSums
from mmhkt.evaluation.end_point_error import SPEEDS


def accuracy_by_class(predicted: np.ndarray, labels: np.ndarray,
                      classes: int) -> np.ndarray:
    """Share of the images of each class that are found.

    Args:
        predicted (ndarray): Classes (N, ).
        labels (ndarray): True classes (N, ).
        classes (int): How many there are.

    Returns:
        ndarray: (classes, ), 0 to 1; NaN of a class without images.
    """
    total = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[predicted == labels], minlength=classes)
    with np.errstate(invalid='ignore'):
        return right / total


def score_by_part(sums: Dict[str, ImageSums], metric: str,
                  classes: Sequence[str]) -> Dict[str, float]:
    """A score class by class, of flow speed by speed.

    Args:
        sums (dict[str, ImageSums]): By score, of one network.
        metric (str): The score: ``mIoU``, ``mDice``, ``EPE``.
        classes (Sequence[str]): Their names, where the score is a mean over
            classes; numbers where they are others.

    Returns:
        dict[str, float]: NaN of a class that no image has; empty of a score
        that has no parts.
    """
    if metric.endswith('EPE'):
        prefix = metric[:-len('EPE')]
        return {
            speed: sums[prefix + speed].score()
            for speed in SPEEDS if prefix + speed in sums
        }
    values = sums[metric].by_column()
    if len(values) == 1:
        return {}
    names = classes
    if len(names) != len(values):
        # The regions of a volume, 'Dice.tumour'
        start = metric.replace('/m', '/').removeprefix('m') + '.'
        names = [k[len(start):] for k in sums if k.startswith(start)]
    if len(names) != len(values):
        names = [str(i) for i in range(len(values))]
    return dict(zip(names, values.tolist()))


def better_and_worse(child: np.ndarray,
                     alone: np.ndarray,
                     parent: Optional[np.ndarray] = None,
                     higher: bool = True) -> Dict[str, object]:
    """Samples on which one of two children has the better score.

    Args:
        child (ndarray): Scores of the child with a parent, (N, ); images
            where any is NaN count nowhere.
        alone (ndarray): Those of the child alone.
        parent (ndarray, optional): The parent's. Defaults to None.
        higher (bool): Whether a higher score is better. Defaults to True.

    Returns:
        dict: As of :func:`won_and_lost`, the most won or lost first, with
        ``p`` of Wilcoxon's signed-rank test and, as ``parent_right``, the
        share on which the parent is better than the child alone.
    """
    sign = 1 if higher else -1
    gain = sign * (child - alone)
    known = np.isfinite(gain)
    if parent is not None:
        known &= np.isfinite(parent)
    gain = np.where(known, gain, 0)
    order = np.argsort(-np.abs(gain), kind='stable')
    won, lost = order[gain[order] > 0], order[gain[order] < 0]

    def share(indices) -> Optional[float]:
        if parent is None or not len(indices):
            return None
        ahead = sign * (parent[indices] - alone[indices]) > 0
        return float(ahead.mean())

    # Without any difference there is nothing to test.
    p = float(wilcoxon(gain[known]).pvalue) if gain.any() else 1.0
    return dict(
        won=won,
        lost=lost,
        p=p,
        parent_right=dict(
            all=share(np.flatnonzero(known)), won=share(won),
            lost=share(lost)))


def won_and_lost(child: np.ndarray,
                 alone: np.ndarray,
                 parent: Optional[np.ndarray] = None) -> Dict[str, object]:
    """Samples that only one of two children gets right.

    Args:
        child (ndarray): Whether the child with a parent is right, bool (N, ).
        alone (ndarray): Whether the child alone is.
        parent (ndarray, optional): Whether the parent is. Defaults to None.

    Returns:
        dict: ``won`` and ``lost`` (indices), ``p`` of McNemar's exact test
        that one is as frequent as the other, and ``parent_right``: of all
        samples, of the won and of the lost ones the share that the parent
        gets right (None without one, or without such samples).
    """
    won, lost = np.flatnonzero(child & ~alone), np.flatnonzero(alone & ~child)
    table = [[int((child & alone).sum()), len(won)],
             [len(lost), int((~child & ~alone).sum())]]

    def share(indices) -> Optional[float]:
        if parent is None or not len(indices):
            return None
        return float(parent[indices].mean())

    return dict(
        won=won,
        lost=lost,
        p=float(mcnemar(table, exact=True).pvalue),
        parent_right=dict(
            all=share(np.arange(len(child))), won=share(won),
            lost=share(lost)))


def calibration(scores: np.ndarray,
                labels: np.ndarray,
                bins: int = 15) -> Dict[str, object]:
    """Whether a network is right as often as it says.

    The expected calibration error of Guo et al. (2017,
    https://arxiv.org/abs/1706.04599): the mean over the images of the
    distance between accuracy and confidence in their bin.

    Args:
        scores (ndarray): Probabilities (N, classes).
        labels (ndarray): True classes (N, ).
        bins (int): Of equal width, between 0 and 1. Defaults to 15.

    Returns:
        dict: ``ece``, 0 to 1; ``count``, ``confidence`` and ``accuracy``,
        (bins, ) each, NaN where a bin is empty.
    """
    confidence, right = scores.max(1), scores.argmax(1) == labels
    # (0, 1/bins], (1/bins, 2/bins], ...
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid='ignore'):
        mean = np.bincount(place, confidence, bins) / count
        accuracy = np.bincount(place, right, bins) / count
    gaps = np.nan_to_num(np.abs(accuracy - mean)) * count
    return dict(
        ece=float(gaps.sum() / len(labels)),
        count=count,
        confidence=mean,
        accuracy=accuracy)
