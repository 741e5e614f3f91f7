# Copyright (c) mmhkt authors. All rights reserved.
"""How alike the features of two networks are: arrays in, arrays out."""
from typing import Optional, Sequence

import torch
from torch import Tensor

# A part of the second moments' mean is added to their diagonal, so that
# channels that never vary do no harm.
RIDGE = 1e-8


class MinibatchCKA:
    """Linear centred kernel alignment of every layer of one network with
    every layer of another, batch by batch.

    ``CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`` of the Gram matrices K
    and L of flattened features (Kornblith et al., 2019,
    https://arxiv.org/abs/1905.00414), each HSIC being the mean over the
    batches of the unbiased estimate of Song et al. (2012), as Nguyen et al.
    (2021, https://arxiv.org/abs/2010.15327) take it. **Bias**: each HSIC is
    unbiased whatever the batch, their ratio is not quite; it tends to the
    value of all images as batches grow in number, and may lie a little
    below 0 where nothing is alike.

    Args:
        rows (int): Layers of the one network.
        columns (int): Of the other.
    """

    def __init__(self, rows: int, columns: int):
        self._joint = torch.zeros(rows, columns, dtype=torch.float64)
        self._rows = torch.zeros(rows, dtype=torch.float64)
        self._columns = torch.zeros(columns, dtype=torch.float64)

    def update(self, rows: Sequence[Tensor], columns: Sequence[Tensor]):
        """Take up the features of a batch.

        Args:
            rows (Sequence[Tensor]): (N, ...) of each layer, N of 4 or more;
                smaller batches are passed over.
            columns (Sequence[Tensor]): The same, of the other network.
        """
        if len(rows[0]) < 4:
            return
        ours, theirs = ([gram(x) for x in xs] for xs in (rows, columns))
        for i, k in enumerate(ours):
            self._rows[i] += hsic(k, k)
            for j, other in enumerate(theirs):
                self._joint[i, j] += hsic(k, other)
        for j, other in enumerate(theirs):
            self._columns[j] += hsic(other, other)

    def compute(self) -> Tensor:
        """(rows, columns), 1 for features that are equal but for a rotation
        and a scale."""
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

    Only sums of products are kept, so that any number of images fit.

    Args:
        channels (int): Of the feature that explains.
        targets (int): Of the one that is explained.
    """

    def __init__(self, channels: int, targets: int):
        size = 1 + channels + targets
        self._channels = channels
        # Fitted on, and held out.
        self._moments = torch.zeros(2, size, size, dtype=torch.float64)

    def update(self, given: Tensor, target: Tensor, held_out: Tensor) -> None:
        """Take up a batch.

        Args:
            given (Tensor): (N, channels) or, at P positions, (N, P,
                channels).
            target (Tensor): (N, targets) or (N, P, targets).
            held_out (Tensor): (N, ), bool: which images are not fitted on.
        """
        both = torch.cat([torch.ones_like(given[..., :1]), given, target],
                         -1).double()
        for i, chosen in enumerate((~held_out, held_out)):
            rows = both[chosen].flatten(0, -2)
            self._moments[i] += (rows.T @ rows).cpu()

    def compute(self) -> Optional[float]:
        """1 - squared error / variance, both over all channels; below 0 where
        the map is worse than the mean of the held-out images. None if there
        are none, or they do not vary."""
        inner = 1 + self._channels
        fit, held = self._moments
        if fit[0, 0] < 2 or held[0, 0] < 2:
            return None
        a = fit[:inner, :inner].clone()
        a.diagonal()[1:] += RIDGE * a.diagonal()[1:].mean()
        weights = torch.linalg.lstsq(
            a, fit[:inner, inner:], driver='gelsd').solution
        target = held[inner:, inner:].trace()
        error = (
            target - 2 * (weights * held[:inner, inner:]).sum() +
            (weights * (held[:inner, :inner] @ weights)).sum())
        spread = target - held[0, inner:].square().sum() / held[0, 0]
        return float(1 - error / spread) if spread > 0 else None
