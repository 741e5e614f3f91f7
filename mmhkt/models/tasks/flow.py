# Copyright (c) mmhkt authors. All rights reserved.
from torch import Tensor, nn

from mmhkt.inheritance import Dissection
from mmhkt.models.flow import RAFT
from .base import Task


class OpticalFlow(Task):
    """Where a flow network keeps what can be inherited."""

    name = 'optical flow'
    networks = 'mmhkt.RAFT'

    @staticmethod
    def owns(network: nn.Module) -> bool:
        """Whether a network is made for this task."""
        return isinstance(network, RAFT)

    def logits_site(self, dissection: Dissection) -> str:
        """The module that returns the flows of all updates, which the loss
        is computed from."""
        return 'raft'

    def head_site(self, dissection: Dissection) -> None:
        """None: what the flow head is given, the hidden state, is different
        in each update."""
        return None

    def score(self, logits: Tensor, data_samples: list) -> None:
        """None: flow has no accuracy; the losses bring an error, ``epe``."""
        return None
