# Copyright (c) mmhkt authors. All rights reserved.
"""What a child does otherwise than a child alone: arrays in, arrays out."""
from typing import Dict, Optional

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar


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
