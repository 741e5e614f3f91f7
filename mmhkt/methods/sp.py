# Copyright (c) mmhkt authors. All rights reserved.
from typing import Tuple

import torch.nn.functional as F
from torch import Tensor

from mmhkt.registry import METHODS
from .distiller import Distiller, normalised


@METHODS.register_module()
class SP(Distiller):
    r"""Similarity-preserving distillation: images that are alike to the
    parent become alike to the child.

    From `Similarity-Preserving Knowledge Distillation
    <https://arxiv.org/abs/1907.09682>`_ (ICCV 2019): with the inner products
    of all pairs of images in a batch, :math:`G = f f^T`, rows of norm 1,
    :math:`\|G_q - G_z\|_F^2 / B^2`. Weight 3000 is the paper's and that of
    the benchmarks.

    Args:
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'last'``.
    """

    default_sites = 'last'
    default_weights = dict(native=1.0, distillation=3000.0)

    def match(self, q: Tensor, z: Tensor) -> Tuple[Tensor, Tensor]:
        # Only (B, B) of each is compared.
        return q, z

    def distillation(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of maps (B, C, H, W); C, H and W may differ."""
        return F.mse_loss(similarity(q), similarity(z))


def similarity(feature: Tensor) -> Tensor:
    """Inner products of all pairs in a batch, (B, B), rows of norm 1."""
    rows = feature.flatten(1)
    return normalised(rows @ rows.T)
