# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Dict, List

from torch import Tensor, nn

from mmhkt.inheritance import Dissection
from mmhkt.models.flow import RAFT
from mmhkt.registry import TASKS
from mmhkt.structures import FlowDataSample
from .base import Task

# What the recurrent part is given: the features that are correlated, and the
# two parts of what the context encoder returns.
ENCODERS = ('raft.feature_encoder', 'raft.context_encoder.parts.hidden',
            'raft.context_encoder.parts.context')


@TASKS.register_module()
class OpticalFlow(Task):
    """Where a flow network keeps what can be inherited.

    As ``sites``, ``'2hkt'`` are the outputs of both encoders, ``'3hkt'``
    these and the hidden state after each update. The papers name two and
    three places without defining them; this is our reading. ``'stages'`` and
    what is made of them are of the feature encoder.
    """

    name = 'optical flow'
    networks = 'mmhkt.RAFT'
    backbone = 'raft.feature_encoder'
    presets = {
        'head': ENCODERS,
        '2hkt': ENCODERS,
        '3hkt': (*ENCODERS, 'raft.update_block.recurrent_block'),
    }

    @staticmethod
    def owns(network: nn.Module) -> bool:
        """Whether a network is made for this task."""
        return isinstance(network, RAFT)

    def logits_site(self, dissection: Dissection) -> str:
        """The module that returns the flows of all updates, which the loss
        is computed from."""
        return 'raft'

    def head_site(self, dissection: Dissection) -> None:
        """None: there are several, ``presets['head']``."""
        return None

    def match(self, parent: nn.Module) -> str:
        """Let a parent make as many updates as the child, so that what they
        return can be compared update by update."""
        parent.iters_train = self.network.iters_train
        return f'{parent.iters_train} updates'

    def samples(self, labels: Tensor) -> List[FlowDataSample]:
        """Args: labels (Tensor): Flow in pixels, (B, 2, H, W), NaN where it
        is not known."""
        return [
            FlowDataSample(gt_flow=flow, valid=flow.isfinite().all(0))
            for flow in labels
        ]

    def tally(self, data_sample: FlowDataSample) -> Dict[Any, int]:
        """Pixels whose flow is known, and others."""
        known = int(data_sample.valid.sum())
        return dict(known=known, ignored=data_sample.valid.numel() - known)

    def score(self, logits: Tensor, data_samples: list) -> None:
        """None: flow has no accuracy; the losses bring an error, ``epe``."""
        return None
