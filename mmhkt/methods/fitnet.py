# Copyright (c) mmhkt authors. All rights reserved.
import torch.nn.functional as F
from torch import Tensor, nn

from mmhkt.inheritance import Site
from mmhkt.registry import METHODS
from .adapter_norm import AdapterNorm
from .distiller import Distiller, project


@METHODS.register_module()
class FitNet(Distiller):
    """FitNets: a middle feature of the child is regressed to the parent's.

    From `FitNets: Hints for Thin Deep Nets
    <https://arxiv.org/abs/1412.6550>`_ (ICLR 2015), in one stage, as the
    benchmarks RepDistiller and mdistiller have it: the mean squared error
    after a 1x1 convolution with BN and ReLU, weight 100.

    Args:
        relu (bool): Whether the regressor ends with a ReLU. Set it to False
            for parent's features that may be negative (of transformers,
            say). Defaults to True.
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'middle'``.
    """

    default_sites = 'middle'
    default_weights = dict(native=1.0, distillation=100.0)

    def __init__(self, relu: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.relu = relu

    def adapter(self, site: Site) -> nn.Module:
        return Regressor(site, self.relu)

    def distillation(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of maps (B, C, H, W), the child's regressed."""
        return F.mse_loss(q, z)


class Regressor(nn.Sequential):
    """From the child's channels to the parent's."""

    def __init__(self, site: Site, relu: bool):
        super().__init__(
            project(site.child_layout, site.parent_layout, bias=True),
            AdapterNorm(site.parent_layout.channels),
            nn.ReLU() if relu else nn.Identity())
