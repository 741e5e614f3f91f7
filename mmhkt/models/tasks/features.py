# Copyright (c) mmhkt authors. All rights reserved.
from typing import Optional

from torch import Tensor, nn

from mmhkt.inheritance import Dissection
from mmhkt.registry import TASKS
from ..feature_network import FeatureNetwork
from .base import Task


@TASKS.register_module()
class Features(Task):
    """Of a parent without a head: no task, nothing but features."""

    name = 'features'
    networks = 'mmhkt.FeatureNetwork, as a parent'

    @staticmethod
    def owns(network: nn.Module) -> bool:
        """Whether a network is made for this task."""
        return isinstance(network, FeatureNetwork)

    def logits_site(self, dissection: Dissection) -> None:
        """None."""
        return None

    def head_site(self, dissection: Dissection) -> Optional[str]:
        """What would enter the head: the neck, or the backbone."""
        return dissection.top_level()[-1]

    def score(self, logits: Tensor, data_samples: list) -> None:
        """None."""
        return None

    def samples(self, labels: Tensor) -> list:
        """Nothing is trained."""
        raise NotImplementedError
