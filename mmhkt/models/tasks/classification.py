# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Optional

import torch
from mmpretrain.models import BaseClassifier
from torch import Tensor, nn

from mmhkt.inheritance import Dissection
from .base import Task


class Classification(Task):
    """Where a classifier keeps what can be inherited, and how it is scored.
    """

    name = 'classification'
    networks = 'any classifier of mmpretrain'

    @staticmethod
    def owns(network: nn.Module) -> bool:
        """Whether a network is made for this task."""
        return isinstance(network, BaseClassifier)

    def logits_site(self, dissection: Dissection) -> str:
        """The module that returns the logits: the last one to run."""
        return dissection.top_level()[-1]

    def head_site(self, dissection: Dissection) -> Optional[str]:
        """The module whose feature the head is given, None where a
        classifier (of timm, say) is one single module."""
        top_level = dissection.top_level()
        return top_level[-2] if len(top_level) > 1 else None

    def score(self, logits: Tensor, data_samples: list) -> Optional[Tensor]:
        """Accuracy in %, None where labels are mixed or not single."""
        if not all('gt_label' in s and 'gt_score' not in s
                   for s in data_samples):
            return None
        labels: List[Tensor] = [s.gt_label for s in data_samples]
        if any(label.numel() != 1 for label in labels):
            return None
        return (logits.argmax(1) == torch.cat(labels)).float().mean() * 100
