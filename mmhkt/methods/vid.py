# Copyright (c) mmhkt authors. All rights reserved.
import math
from typing import Annotated, Tuple

import torch
import torch.nn.functional as F
from annotated_types import Gt, Le
from torch import Tensor, nn

from mmhkt.inheritance import Site
from mmhkt.registry import METHODS
from .distiller import Distiller, at_smaller_size, project


@METHODS.register_module()
class VID(Distiller):
    """Variational information distillation: how much the child's feature
    tells of the parent's.

    From `Variational Information Distillation for Knowledge Transfer
    <https://arxiv.org/abs/1904.05835>`_ (CVPR 2019): the negative log
    likelihood of the parent's feature under a Gaussian whose mean is
    regressed from the child's (three 1x1 convolutions with ReLUs between)
    and whose variance is learned, one a channel. Without the constant of the
    Gaussian, and so it may be negative. Weight 1 is that of the benchmarks.
    Of two sizes the larger map is pooled to the smaller one.

    Args:
        start (float): Variance at the start. Defaults to 5.
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'stages'``.
    """

    def __init__(self,
                 start: Annotated[float, Gt(1e-5), Le(80)] = 5.0,
                 **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def adapter(self, site: Site) -> nn.Module:
        return Gaussian(site, self.start)

    def match(self, q: Tensor, z: Tensor) -> Tuple[Tensor, Tensor]:
        return at_smaller_size(q, z)

    def distillation(self, q: Tensor, z: Tensor, i: int, *_) -> Tensor:
        """Loss of maps (B, C, H, W), the child's being the mean."""
        variance = self.adapters[i].variance
        return 0.5 * ((q - z)**2 / variance + variance.log()).mean()


class Gaussian(nn.Module):
    """Mean and variance of the parent's feature, given the child's."""

    def __init__(self, site: Site, start: float, least: float = 1e-5):
        super().__init__()
        child, parent = site.child_layout, site.parent_layout
        self.mean = nn.Sequential(
            project(child, parent), nn.ReLU(), project(parent, parent),
            nn.ReLU(), project(parent, parent))
        self.least = least
        # The inverse of softplus, which keeps the variance positive.
        self.scale = nn.Parameter(
            torch.full((parent.channels, 1, 1),
                       math.log(math.expm1(start - least))))

    @property
    def variance(self) -> Tensor:
        """(C, 1, 1)."""
        return F.softplus(self.scale) + self.least

    def forward(self, q: Tensor) -> Tensor:
        """(B, C_child, H, W) to the mean (B, C, H, W)."""
        return self.mean(q)
