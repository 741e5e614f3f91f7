# Copyright (c) mmhkt authors. All rights reserved.
"""How alike the features of two networks are: arrays in, arrays out."""
from typing import List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

# CKA waits for so many images.
BATCH = 32
# What may be added to each channel's variance, as part of the mean one: it
# keeps a map from fitting noise where images are few.
RIDGES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.)
# Of so many rows a channel, positions counted, the share explained can be
# told.
ENOUGH = 5


class MinibatchCKA:
    """Linear centred kernel alignment of every layer of one network with
    every layer of another, batch by batch.

    ``CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`` of the Gram matrices K
    and L of flattened features (Kornblith et al., 2019,
    https://arxiv.org/abs/1905.00414), each HSIC being the mean over the
    batches of the unbiased estimate of Song et al. (2012), as Nguyen et al.
    (2021, https://arxiv.org/abs/2010.15327) take it, weighted by their size;
    batches below 32 images are put together. **Bias**: each HSIC is unbiased
    whatever the size of the batch, *if the batches are random*: show images
    in a random order, not class by class. The ratio is not quite unbiased; it
    tends to the value of all images as batches grow in number, and may lie a
    little below 0 where nothing is alike.

    Args:
        rows (int): Layers of the one network.
        columns (int): Of the other.
    """

    def __init__(self, rows: int, columns: int):
        self._joint = torch.zeros(rows, columns, dtype=torch.float64)
        self._rows = torch.zeros(rows, dtype=torch.float64)
        self._columns = torch.zeros(columns, dtype=torch.float64)
        # Features of images that are no batch yet, layer by layer.
        self._waiting: Tuple[list, list] = ([], [])

    def update(self, rows: Sequence[Tensor], columns: Sequence[Tensor]):
        """Take up the features of some images, one is enough.

        Args:
            rows (Sequence[Tensor]): (N, ...) of each layer.
            columns (Sequence[Tensor]): The same, of the other network.
        """
        for waiting, new in zip(self._waiting, (rows, columns)):
            waiting.append([x.flatten(1) for x in new])
        if sum(len(features[0]) for features in self._waiting[0]) >= BATCH:
            self._add()

    def _add(self) -> None:
        """Make a batch of what waits."""
        ours, theirs = ([torch.cat(xs) for xs in zip(*waiting)]
                        for waiting in self._waiting)
        self._waiting = ([], [])
        # Of fewer there is no unbiased estimate.
        if not ours or len(ours[0]) < 4:
            return
        weight = len(ours[0])
        ours, theirs = ([gram(x) for x in xs] for xs in (ours, theirs))
        for i, k in enumerate(ours):
            self._rows[i] += weight * float(hsic(k, k))
            for j, other in enumerate(theirs):
                self._joint[i, j] += weight * float(hsic(k, other))
        for j, other in enumerate(theirs):
            self._columns[j] += weight * float(hsic(other, other))

    def compute(self) -> Tensor:
        """(rows, columns), 1 for features that are equal but for a rotation
        and a scale; NaN of fewer than 4 images, and of features that do not
        vary."""
        self._add()
        scale = self._rows[:, None] * self._columns
        return self._joint / scale.clamp(min=0).sqrt()


def gram(features: Tensor) -> Tensor:
    """Inner products of a batch's features, (N, N) float64, its diagonal 0.

    Args:
        features (Tensor): (N, ...).
    """
    flat = features.flatten(1)
    # Far from 0, float32 would lose what differs; the estimate is of
    # differences alone.
    flat = flat - flat.mean(0)
    products = (flat @ flat.T).double()
    return products.fill_diagonal_(0)


def hsic(k: Tensor, other: Tensor) -> Tensor:
    """The unbiased estimate of the Hilbert-Schmidt independence criterion.

    Args:
        k (Tensor): (N, N) with a diagonal of 0, N > 3.
        other (Tensor): The same.
    """
    n = len(k)
    joint = (k * other).sum()
    joint = joint + k.sum() * other.sum() / ((n - 1) * (n - 2))
    joint = joint - 2 * (k.sum(0) @ other.sum(0)) / (n - 2)
    return joint / (n * (n - 3))


class ExplainedVariance:
    """The share of one feature's variance that the best affine map from
    another one's channels explains, on images that it was not fitted on.

    Only sums of products are kept, so that any number of images fit. The map
    is one of ridge regression, whose ridge other images choose that the map
    was not fitted on either.

    Args:
        channels (int): Of the feature that explains.
        targets (int): Of the one that is explained.
    """

    def __init__(self, channels: int, targets: int):
        size = 1 + channels + targets
        self._channels = channels
        self._moments = torch.zeros(3, size, size, dtype=torch.float64)

    def update(self, given: Tensor, target: Tensor, folds: Tensor) -> None:
        """Take up a batch.

        Args:
            given (Tensor): (N, channels) or, at P positions, (N, P,
                channels).
            target (Tensor): (N, targets) or (N, P, targets).
            folds (Tensor): (N, ): 0 for images that the map is fitted on, 1
                for those that choose its ridge, 2 for those that judge it.
        """
        both = torch.cat([torch.ones_like(given[..., :1]), given, target],
                         -1).double()
        for i, moments in enumerate(self._moments):
            rows = both[folds == i].flatten(0, -2)
            moments += (rows.T @ rows).cpu()

    def compute(self) -> Optional[float]:
        """1 - squared error / variance, both over all channels; below 0 where
        the map is worse than the mean of the images that judge it. None where
        it is fitted on fewer than 5 rows a channel, where nothing chooses or
        judges, and where that does not vary."""
        fit, choose, held = self._moments
        fitted = fit + choose
        if (fitted[0, 0] < ENOUGH * self._channels
                or min(x[0, 0] for x in (fit, choose, held)) < 2):
            return None
        errors = [
            self._error(weights, choose)
            for weights in self._maps(fit, RIDGES)
        ]
        best = RIDGES[int(np.argmin(errors))]
        weights, = self._maps(fitted, [best])
        inner = 1 + self._channels
        spread = float(held[inner:, inner:].trace() -
                       held[0, inner:].square().sum() / held[0, 0])
        return 1 - self._error(weights, held) / spread if spread > 0 else None

    def _maps(self, moments: Tensor, ridges: Sequence[float]) -> List[Tensor]:
        """Weights (1 + channels, targets), the constant first."""
        count = moments[0, 0]
        mean = moments[0] / count
        spread = moments / count - mean[:, None] * mean
        x = slice(1, 1 + self._channels)
        z = slice(1 + self._channels, None)
        values, vectors = torch.linalg.eigh(spread[x, x])
        turned = vectors.T @ spread[x, z]
        # What rounding leaves of channels that never vary.
        kind = torch.finfo(moments.dtype)
        least = kind.eps * moments[x, x].trace() / count + kind.tiny
        maps = []
        for ridge in ridges:
            added = least + ridge * spread[x, x].diagonal().mean().clamp(min=0)
            weights = vectors @ (
                turned / (values.clamp(min=0) + added)[:, None])
            constant = mean[z] - mean[x] @ weights
            maps.append(torch.cat([constant[None], weights]))
        return maps

    def _error(self, weights: Tensor, moments: Tensor) -> float:
        """The sum of squares that a map leaves of some images."""
        inner = 1 + self._channels
        return float(moments[inner:, inner:].trace() - 2 *
                     (weights * moments[:inner, inner:]).sum() +
                     (weights * (moments[:inner, :inner] @ weights)).sum())
