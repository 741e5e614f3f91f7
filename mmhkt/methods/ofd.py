# Copyright (c) mmhkt authors. All rights reserved.
import math

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmhkt.inheritance import Site
from mmhkt.registry import METHODS
from .adapter_norm import AdapterNorm
from .distiller import Distiller, project
from .step import Step


@METHODS.register_module()
class OFD(Distiller):
    r"""Overhaul of feature distillation: features before their activation.

    From `A Comprehensive Overhaul of Feature Distillation
    <https://arxiv.org/abs/1904.01866>`_ (ICCV 2019). The child's feature
    passes a 1x1 convolution with BN; of the parent's, what is negative is
    cut at a margin, the mean negative response of its channel; the squared
    error counts where the parent is positive, or the child above it. It is
    summed over the map, the mean over the images; of L stages stage i has
    the factor :math:`2^{i-L}`. Weight 1e-3 is that of the authors' CIFAR
    code, 1e-4 that for ImageNet.

    The margins are averaged while training, which the paper names beside
    the way from the parent's batch norms, so that no norm has to be found.
    Batches that are not finite do not count.

    Args:
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'preactivations'``.
    """

    default_sites = 'preactivations'
    default_weights = dict(native=1.0, distillation=1e-3)

    def adapter(self, site: Site) -> nn.Module:
        return Connector(site)

    def adapt(self, q: Tensor, z: Tensor, i: int, step: Step):
        return self.adapters[i](q, z)

    def distillation(self, q: Tensor, z: Tensor, i: int, *_) -> Tensor:
        """Loss of maps (B, C, H, W)."""
        return partial_distance(q, z) / 2**(len(self.sites) - i - 1)


def partial_distance(q: Tensor, z: Tensor) -> Tensor:
    """Squared error where the parent's feature is positive, or the child's
    is above it; summed over the map, the mean over the images."""
    counts = (q > z) | (z > 0)
    return ((q - z)**2 * counts).sum() / len(z)


class Connector(nn.Module):
    """The child's feature in the parent's width, the parent's in its margin
    ReLU."""

    def __init__(self, site: Site):
        super().__init__()
        width = site.parent_layout.channels
        convolution = project(site.child_layout, site.parent_layout)
        nn.init.normal_(convolution.weight, std=math.sqrt(2 / width))
        self.connect = nn.Sequential(convolution, AdapterNorm(width))
        # Sum and number of the negative responses so far.
        self.register_buffer('negative', torch.zeros(2, width, 1, 1))

    def forward(self, q: Tensor, z: Tensor):
        """(B, C_child, H, W), (B, C, H, W) to twice (B, C, H, W)."""
        q, z = self.connect(q), z.to(self.negative)
        return q, torch.maximum(z, self._margin(q, z))

    @torch.no_grad()
    def _margin(self, q: Tensor, z: Tensor) -> Tensor:
        below = z < 0
        seen = torch.stack([(z * below).sum((0, 2, 3)),
                            below.sum((0, 2, 3)).to(z)])[..., None, None]
        # NaN in all processes where either feature is not finite in one of
        # them; a batch whose step will be skipped is not remembered.
        seen += 0 * (q.sum(dtype=z.dtype) + z.sum())
        all_reduce(seen)
        self.negative += seen.masked_fill(~seen.isfinite().all(), 0)
        return self.negative[0] / self.negative[1].clamp(min=1)
