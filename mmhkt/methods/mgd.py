# Copyright (c) mmhkt authors. All rights reserved.
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhkt.inheritance import Site
from mmhkt.registry import METHODS
from mmhkt.utils.settings import BelowOne
from .distiller import Distiller, project
from .step import Step

SHAPES = dict(positions=(0, 2, 3), channels=(0, 1))


@METHODS.register_module()
class MGD(Distiller):
    """Masked generative distillation: from a part of its feature the child
    generates the parent's.

    From `Masked Generative Distillation <https://arxiv.org/abs/2205.01529>`_
    (ECCV 2022): the child's feature (through a 1x1 convolution where the
    widths differ) is masked at random and passes two 3x3 convolutions with a
    ReLU between; the squared error is summed over the map, the mean over the
    images. Hence the weights: 7e-5 for classification, 2e-5 for dense
    prediction.

    The defaults are the paper's for classification. For segmentation it
    masks 0.75; the released classification configs mask 0.15 of the channels
    instead.

    Args:
        mask (float): Which part is masked. Defaults to 0.5.
        mask_over (str): What is masked, ``'positions'`` or ``'channels'``.
            Defaults to ``'positions'``.
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'last'``.

    Raises:
        ValueError: If the mask is not a part, or of an unknown kind.
    """

    default_sites = 'last'
    default_weights = dict(native=1.0, distillation=7e-5)

    def __init__(self,
                 mask: BelowOne = 0.5,
                 mask_over: Literal['positions', 'channels'] = 'positions',
                 **kwargs):
        super().__init__(**kwargs)
        self.mask = mask
        self.mask_over = mask_over

    def adapter(self, site: Site) -> nn.Module:
        return Generation(site)

    def adapt(self, q: Tensor, z: Tensor, i: int, step: Step):
        return self.adapters[i](q, self._keep), z

    def distillation(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of maps (B, C, H, W), the child's generated."""
        return F.mse_loss(q, z, reduction='sum') / len(z)

    def _keep(self, feature: Tensor) -> Tensor:
        shape = [
            size if dim in SHAPES[self.mask_over] else 1
            for dim, size in enumerate(feature.shape)
        ]
        kept = torch.rand(shape, device=feature.device) >= self.mask
        return feature * kept


class Generation(nn.Module):
    """The parent's feature from the child's masked one."""

    def __init__(self, site: Site):
        super().__init__()
        child, parent = site.child_layout, site.parent_layout
        width = parent.channels
        self.align = nn.Identity()
        if child.channels != width:
            self.align = project(child, parent, bias=True)
        self.generate = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1))

    def forward(self, q: Tensor, mask) -> Tensor:
        """(B, C_child, H, W) to (B, C, H, W)."""
        return self.generate(mask(self.align(q)))
