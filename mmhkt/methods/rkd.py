# Copyright (c) mmhkt authors. All rights reserved.
import torch
import torch.nn.functional as F
from torch import Tensor

from mmhkt.registry import METHODS
from .distiller import PooledDistiller, normalised


@METHODS.register_module()
class RKD(PooledDistiller):
    """Relational knowledge distillation: distances and angles between the
    images of a batch.

    From `Relational Knowledge Distillation
    <https://arxiv.org/abs/1904.05068>`_ (CVPR 2019): Huber losses of the
    distances of all pairs over their mean (``distance``) and of the cosines
    of the angles in all triplets (``angle``). Weights 25 and 50 are the
    paper's.

    Args:
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'head'``.
    """

    default_weights = dict(native=1.0, distance=25.0, angle=50.0)

    def distance(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of vectors (B, C); C may differ."""
        return F.smooth_l1_loss(distances(q), distances(z))

    def angle(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of vectors (B, C); C may differ."""
        return F.smooth_l1_loss(angles(q), angles(z))


def distances(vectors: Tensor, eps: float = 1e-12) -> Tensor:
    """Euclidean distances (B, B) over the mean of those that are not 0."""
    # What all have in common would cost the digits of what they differ by.
    vectors = vectors - vectors.mean(0)
    squares = vectors.pow(2).sum(1)
    squared = squares[:, None] + squares - 2 * vectors @ vectors.T
    # The root has no gradient at 0; the diagonal is exactly 0.
    result = squared.clamp(min=eps).sqrt() * (1 - torch.eye(
        len(vectors), dtype=vectors.dtype, device=vectors.device))
    count = (result > 0).sum()
    mean = result.sum() / count.clamp(min=1)
    # Where there is nothing to compare all are 0.
    return result / mean.masked_fill(count == 0, 1)


def angles(vectors: Tensor) -> Tensor:
    """Cosines of the angles at i between j and k, (B, B, B)."""
    directions = normalised(vectors[None] - vectors[:, None])
    return directions @ directions.transpose(1, 2)
