# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Optional

import torch.nn.functional as F
from torch import Tensor, nn

from mmhkt.inheritance import Extraction, Site
from mmhkt.registry import METHODS
from mmhkt.utils.settings import Positive
from .distiller import Distiller, project


@METHODS.register_module()
class CWD(Distiller):
    r"""Channel-wise distillation: where each channel is active.

    From `Channel-wise Knowledge Distillation for Dense Prediction
    <https://arxiv.org/abs/2011.13256>`_ (ICCV 2021): the divergence of each
    channel's distribution over the positions (a softmax with temperature
    :math:`\tau`), times :math:`\tau^2`, the mean over images and channels.
    Other codes divide by the images alone; their weights are to be
    multiplied by the number of channels. The paper has weight 3 for logits
    with :math:`\tau = 4`; here it is 5 with 1. Where the widths differ a 1x1
    convolution is learned.

    Args:
        temperature (float): Defaults to 1.
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'dense'``: the logits of a segmentation network,
            the last stage of a classifier.
    """

    default_sites = 'dense'
    compares_positions = True
    default_weights = dict(native=1.0, distillation=5.0)

    def __init__(self, temperature: Positive = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.temperature = temperature

    def connect(self, sites: List[Site], child: Extraction,
                parent: Optional[Extraction]) -> None:
        for site in sites:
            # Channel is compared with channel, of logits class with class.
            if (parent is not None and parent.conflict
                    and child.at_logits(site.child)
                    and parent.at_logits(site.parent) and
                    site.child_layout.channels == site.parent_layout.channels):
                raise ValueError(parent.conflict)
        super().connect(sites, child, parent)

    def adapter(self, site: Site) -> nn.Module:
        child, parent = site.child_layout, site.parent_layout
        if child.channels == parent.channels:
            return nn.Identity()
        return project(child, parent)

    def distillation(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of maps (B, C, H, W)."""
        q, z = (
            f.flatten(2).div(self.temperature).log_softmax(2) for f in (q, z))
        divergence = F.kl_div(q, z, reduction='sum', log_target=True)
        return self.temperature**2 * divergence / (z.shape[0] * z.shape[1])
