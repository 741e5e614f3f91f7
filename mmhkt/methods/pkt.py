# Copyright (c) mmhkt authors. All rights reserved.
from torch import Tensor

from mmhkt.registry import METHODS
from .distiller import PooledDistiller, normalised


@METHODS.register_module()
class PKT(PooledDistiller):
    """Probabilistic knowledge transfer: who is whose neighbour.

    From `Learning Deep Representations with Probabilistic Knowledge Transfer
    <https://arxiv.org/abs/1803.10837>`_ (ECCV 2018): the divergence of the
    probabilities that one image of a batch picks another as its neighbour,
    which are cosines brought to 0...1 and divided by their row's sum. As in
    the authors' code and the benchmarks it is the mean over all pairs, hence
    the weight of 30000.

    Args:
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'head'``.
    """

    default_weights = dict(native=1.0, distillation=30000.0)

    def distillation(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of vectors (B, C); C may differ."""
        return probabilistic_transfer(q, z)


def probabilistic_transfer(q: Tensor, z: Tensor, eps: float = 1e-7) -> Tensor:
    """The loss of vectors (B, C), (B, C')."""
    p_q, p_z = _neighbours(q), _neighbours(z)
    return (p_z * ((p_z + eps) / (p_q + eps)).log()).mean()


def _neighbours(vectors: Tensor) -> Tensor:
    vectors = normalised(vectors)
    similarity = (vectors @ vectors.T + 1) / 2
    return similarity / similarity.sum(1, keepdim=True)
