# Copyright (c) mmhkt authors. All rights reserved.
from typing import Tuple

import torch.nn.functional as F
from torch import Tensor

from mmhkt.registry import METHODS
from mmhkt.utils.settings import AtLeastOne
from .distiller import Distiller, at_smaller_size


@METHODS.register_module()
class AT(Distiller):
    """Attention transfer: the child looks where the parent looks.

    From `Paying More Attention to Attention
    <https://arxiv.org/abs/1612.03928>`_ (ICLR 2017): the mean squared
    difference of the attention maps, each the mean over the channels of
    ``|feature| ** power``, flattened and of norm 1. Weight 1000 and power 2
    are those of the benchmarks RepDistiller and mdistiller. Of two sizes the
    larger map is pooled to the smaller one.

    Args:
        power (float): At least 1, below which zeros, as ReLUs leave them,
            have no gradient. Defaults to 2.
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'stages'``.
    """

    default_weights = dict(native=1.0, distillation=1000.0)
    compares_positions = True

    def __init__(self, power: AtLeastOne = 2.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def match(self, q: Tensor, z: Tensor) -> Tuple[Tensor, Tensor]:
        return at_smaller_size(q, z)

    def distillation(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of maps (B, C, H, W); C may differ."""
        return F.mse_loss(self._attention(q), self._attention(z))

    def _attention(self, feature: Tensor) -> Tensor:
        attention = feature.abs().pow(self.power).mean(1).flatten(1)
        return F.normalize(attention, dim=1)
