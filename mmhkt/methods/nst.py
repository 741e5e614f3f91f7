# Copyright (c) mmhkt authors. All rights reserved.
from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhkt.registry import METHODS
from .distiller import Distiller, at_smaller_size


@METHODS.register_module()
class NST(Distiller):
    r"""Neuron selectivity transfer: the child's channels are active where
    the parent's are.

    From `Like What You Like: Knowledge Distill via Neuron Selectivity
    Transfer <https://arxiv.org/abs/1707.01219>`_ (2017): the squared maximum
    mean discrepancy between the channels' spatial patterns, each of norm 1,
    with the polynomial kernel :math:`(x^T y)^2`. Weight 50 is that of the
    benchmarks. Of two sizes the larger map is pooled to the smaller one.

    Args:
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'stages'``.
    """

    default_weights = dict(native=1.0, distillation=50.0)
    compares_positions = True

    def match(self, q: Tensor, z: Tensor) -> Tuple[Tensor, Tensor]:
        return at_smaller_size(q, z)

    def distillation(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of maps (B, C, H, W); C may differ."""
        q, z = (F.normalize(f.flatten(2), dim=2) for f in (q, z))
        return _kernel(z, z) + _kernel(q, q) - 2 * _kernel(q, z)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """Mean over all pairs of channels, of (B, C, N) and (B, C', N)."""
    return torch.bmm(x, y.transpose(1, 2)).pow(2).mean()
