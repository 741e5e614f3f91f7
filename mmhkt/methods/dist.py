# Copyright (c) mmhkt authors. All rights reserved.
import math

from torch import Tensor

from mmhkt.registry import METHODS
from .distiller import LogitDistiller


@METHODS.register_module()
class DIST(LogitDistiller):
    r"""DIST: the child's predictions correlate with the parent's.

    From `Knowledge Distillation from A Stronger Teacher
    <https://arxiv.org/abs/2205.10536>`_ (NeurIPS 2022): one minus Pearson's
    correlation of the probabilities, over the classes of each image
    (``inter``) and over the images of each class (``intra``).

    Both are times :math:`T^2`, as in the authors' CIFAR code (not in the
    paper's equations, which have T = 1); weights 2 and T = 4 are that
    code's. For ImageNet the paper has T = 1 and weights 2.

    Of two classes there is no ``inter``, of two images no ``intra``: all that
    their correlation, 1 or -1, says is which one is larger, of which there
    is no gradient.

    Args:
        temperature, standardise, sites, weights, schedule, sees: See
            :class:`mmhkt.methods.LogitDistiller`.
    """

    default_weights = dict(native=1.0, inter=2.0, intra=2.0)

    def inter(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss over the classes of each row of logits (N, K)."""
        return self._uncorrelated(q, z, dim=1)

    def intra(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss over the rows of each class."""
        return self._uncorrelated(q, z, dim=0)

    def _uncorrelated(self, q: Tensor, z: Tensor, dim: int) -> Tensor:
        if q.shape[dim] < 3:
            return 0 * q.sum()
        q, z = (self.scaled(logits).softmax(1) for logits in (q, z))
        return self.temperature**2 * (1 - correlation(q, z, dim).mean())


def correlation(q: Tensor,
                z: Tensor,
                dim: int,
                eps: float = 1e-8,
                least: float = 0.02) -> Tensor:
    """Pearson's correlation of probabilities along a dimension.

    The child's that hardly differ, as of a head whose weights begin with 0,
    are divided by as if their standard deviation were ``least`` of their
    mean: by what is next to nothing the gradient would be next to infinite,
    and the first step would ruin the child.
    """
    mean = q.mean(dim)
    floor = least * math.sqrt(q.shape[dim]) * mean.detach()
    q = q - mean.unsqueeze(dim)
    z = z - z.mean(dim, keepdim=True)
    norms = q.norm(dim=dim).maximum(floor) * z.norm(dim=dim)
    return (q * z).sum(dim) / (norms + eps)
