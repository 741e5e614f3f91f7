# Copyright (c) mmhkt authors. All rights reserved.
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
        if q.shape[dim] == 1:
            # One value correlates with nothing.
            return 0 * q.sum()
        q, z = (self.scaled(logits).softmax(1) for logits in (q, z))
        return self.temperature**2 * (1 - correlation(q, z, dim).mean())


def correlation(q: Tensor, z: Tensor, dim: int, eps: float = 1e-8) -> Tensor:
    """Pearson's correlation along a dimension."""
    q = q - q.mean(dim, keepdim=True)
    z = z - z.mean(dim, keepdim=True)
    return (q * z).sum(dim) / (q.norm(dim=dim) * z.norm(dim=dim) + eps)
