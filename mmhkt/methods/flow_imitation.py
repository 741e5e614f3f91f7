# Copyright (c) mmhkt authors. All rights reserved.
from typing import Annotated, Dict, List, Literal, Optional

import torch
from annotated_types import Gt, Le
from torch import Tensor

from mmhkt.inheritance import Extraction, Site
from mmhkt.registry import METHODS
from mmhkt.utils.settings import NotNegative
from .base import Method
from .common_settings import Schedules, Sees
from .step import Step

# How far two vectors (N, B, 2, H, W) are from each other.
NORMS = dict(
    epe=lambda difference: difference.norm(dim=2), l1=lambda d: d.abs())


@METHODS.register_module()
class FlowImitation(Method):
    r"""The child's flow is drawn to the parent's after each update.

    What distilling a recurrent flow network amounts to where the ground
    truth of the sequence loss of `RAFT <https://arxiv.org/abs/2003.12039>`_
    is replaced by the parent's prediction of the same update,

    .. math:: L = w_n L_c + w_d \sum_i \gamma^{N-i} \overline{|f_i - g_i|}

    with the flows :math:`f_i` of the child and :math:`g_i` of the parent in
    pixels. All pixels count, also those whose true flow is not known.

    Args:
        norm (str): ``'epe'``, the end-point distance, or ``'l1'``, the mean
            over both components, as in the sequence loss. Defaults to
            ``'epe'``.
        gamma (float): Weight of an update relative to the next one's, above
            0 and at most 1. Defaults to 0.8.
        weights, schedule, sees: See :class:`mmhkt.methods.Method`; the
            terms are ``native`` and ``distillation``, 1 each.

    Raises:
        ValueError: If the norm is unknown, gamma none of these, or the
            networks do not return flows of as many updates.
    """

    default_sites = None
    default_weights = dict(native=1.0, distillation=1.0)

    def __init__(self,
                 norm: Literal['epe', 'l1'] = 'epe',
                 gamma: Annotated[float, Gt(0), Le(1)] = 0.8,
                 weights: Optional[Dict[str, NotNegative]] = None,
                 schedule: Schedules = None,
                 sees: Sees = None):
        super().__init__(weights=weights, schedule=schedule, sees=sees)
        self.norm = norm
        self.gamma = gamma

    def connect(self, sites: List[Site], child: Extraction,
                parent: Optional[Extraction]) -> None:
        super().connect(sites, child, parent)
        self.flows = child.logits_site, parent.logits_site
        shapes = [
            network.dissection.shape(network.logits_site)
            for network in (child, parent)
        ]
        if not all(len(shape) == 5 and shape[2] == 2 for shape in shapes):
            raise ValueError(
                'FlowImitation compares the flows of two networks of optical '
                'flow, of shape (N, B, 2, H, W); child and parent return '
                f'{shapes[0]} and {shapes[1]}.')
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"The child's flows are {shapes[0]}, the parent's "
                f'{shapes[1]}; let both see images of one size.')
        parent.want([parent.logits_site])

    def forward(self, step: Step) -> Dict[str, Tensor]:
        if self.weight('distillation') == 0:
            return {}
        child, parent = self.flows
        z = step.parent_feature(parent).float()
        q = self.child_feature(step, child).float()
        errors = NORMS[self.norm](q - z).flatten(1).mean(1)
        ages = torch.arange(len(errors) - 1, -1, -1, device=errors.device)
        loss = (self.gamma**ages * errors).sum()
        return self.weighted('distillation', dict(loss=loss))
