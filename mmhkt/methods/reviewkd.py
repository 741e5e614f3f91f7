# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhkt.inheritance import Extraction, Site
from mmhkt.registry import METHODS
from mmhkt.utils.settings import Count
from .adapter_norm import AdapterNorm
from .distiller import Distiller
from .step import Step


@METHODS.register_module()
class ReviewKD(Distiller):
    """Knowledge review: the parent's early stages teach the child's late
    ones.

    From `Distilling Knowledge via Knowledge Review
    <https://arxiv.org/abs/2104.09044>`_ (CVPR 2021): from the deepest stage
    backwards the child's features are fused by attention, each with what the
    deeper ones came to, and compared with the parent's by the hierarchical
    context loss.

    As in the authors' code the parent's stages are read before their last
    activation. The loss is warmed up linearly over the first twelfth of the
    training (20 of 240 epochs there). The best weight depends on the pair: 1
    for the CIFAR pair resnet110 to resnet32, 0.6 for resnet56 to resnet20, 5
    for resnet32x4 to resnet8x4 and WRN.

    Args:
        width (int): Of the fused features, at most; that of the child's last
            site where it is smaller. Defaults to 512.
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'review'``: all stages, and the feature that the
            heads are given.
    """

    default_sites = 'review'
    default_schedule = (dict(
        knob='weights.distillation', start=0.0, stop=1.0, end=1 / 12), )

    def __init__(self, width: Count = 512, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def connect(self, sites: List[Site], child: Extraction,
                parent: Optional[Extraction]) -> None:
        self.width = min(self.width, sites[-1].child_layout.channels)
        self.deepest = sites[-1]
        super().connect(sites, child, parent)

    def adapter(self, site: Site) -> nn.Module:
        return Fusion(site, self.width, fuse=site is not self.deepest)

    def pairs(self, step: Step) -> List[Tuple[Tensor, Tensor]]:
        # One walk in place of an adaptation at each site.
        pairs, fused = [], None
        for site, fusion in zip(reversed(self.sites), reversed(self.adapters)):
            q, z = self.pair(step, site)
            feature, fused = fusion(q, fused)
            pairs.append((feature, z))
        return pairs[::-1]

    def distillation(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of maps (B, C, H, W), the child's reviewed."""
        return hierarchical_context(q, z)


def hierarchical_context(q: Tensor, z: Tensor, levels=(4, 2, 1)) -> Tensor:
    """The hierarchical context loss: squared errors at several resolutions.

    Args:
        q (Tensor): The child's map (B, C, H, W).
        z (Tensor): The parent's map, of that shape.
        levels (Sequence[int]): Sizes to which both are pooled, beside their
            own; each counts half of the one before, and those not below H
            are left out. Defaults to (4, 2, 1).

    Returns:
        Tensor: The weighted mean over the resolutions.
    """
    loss, weight, total = F.mse_loss(q, z), 1.0, 1.0
    for size in levels:
        if size >= q.shape[2]:
            continue
        weight /= 2
        total += weight
        loss = loss + weight * F.mse_loss(
            F.adaptive_avg_pool2d(q, size), F.adaptive_avg_pool2d(z, size))
    return loss / total


class Fusion(nn.Module):
    """Attention based fusion of a feature with what the deeper ones came to.

    Args:
        site (Site): Where.
        width (int): Of the fused features.
        fuse (bool): False for the deepest feature.
    """

    def __init__(self, site: Site, width: int, fuse: bool):
        super().__init__()
        self.reduce = nn.Sequential(
            nn.Conv2d(site.child_layout.channels, width, 1, bias=False),
            AdapterNorm(width))
        self.attention = nn.Sequential(
            nn.Conv2d(2 * width, 2, 1), nn.Sigmoid()) if fuse else None
        self.expand = nn.Sequential(
            nn.Conv2d(
                width, site.parent_layout.channels, 3, padding=1, bias=False),
            AdapterNorm(site.parent_layout.channels))
        for layer in (self.reduce[0], self.expand[0]):
            nn.init.kaiming_uniform_(layer.weight, a=1)

    def forward(self, q: Tensor, deeper: Optional[Tensor]):
        """Fuse.

        Args:
            q (Tensor): The child's feature (B, C_child, H, W).
            deeper (Tensor, optional): The fused deeper ones
                (B, width, H', W').

        Returns:
            tuple[Tensor, Tensor]: The feature in the parent's width
            (B, C, H, W), and the fused one (B, width, H, W).
        """
        fused = self.reduce(q)
        if self.attention is not None:
            deeper = F.interpolate(deeper, size=fused.shape[-2:])
            own, others = self.attention(torch.cat([fused, deeper],
                                                   dim=1)).chunk(
                                                       2, dim=1)
            fused = own * fused + others * deeper
        return self.expand(fused), fused
