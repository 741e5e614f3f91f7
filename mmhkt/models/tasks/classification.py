# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Optional

import torch
from mmpretrain.models import BaseClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmhkt.inheritance import Dissection
from .base import Task


class Classification(Task):
    """Where a classifier keeps what can be inherited, and how it is scored.
    """

    name = 'classification'
    networks = 'any classifier of mmpretrain'

    def __init__(self, network: nn.Module):
        super().__init__(network)
        if not hasattr(network, 'backbone'):
            self.backbone = trunk(network)

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

    def samples(self, labels: Tensor) -> List[DataSample]:
        """Args: labels (Tensor): Classes, whole, (B, ); or scores of all
        classes, float, (B, classes)."""
        if labels.is_floating_point():
            return [DataSample().set_gt_score(score) for score in labels]
        return [DataSample().set_gt_label(label) for label in labels]

    def score(self, logits: Tensor, data_samples: list) -> Optional[Tensor]:
        """Accuracy in %, None where labels are mixed or not single."""
        if not all('gt_label' in s and 'gt_score' not in s
                   for s in data_samples):
            return None
        labels: List[Tensor] = [s.gt_label for s in data_samples]
        if any(label.numel() != 1 for label in labels):
            return None
        return (logits.argmax(1) == torch.cat(labels)).float().mean() * 100


def trunk(network: nn.Module, share: float = 0.75) -> str:
    """The module whose blocks make the stages of a network of other houses.

    Args:
        network (nn.Module): For instance one of timm or torchvision.
        share (float): The part of all convolutions and linear layers that
            one child has to hold for the search to go on in it. Defaults to
            0.75: ``features`` of a MobileNet does, ``layer4`` of a ResNet
            does not.

    Returns:
        str: Its path.
    """
    path, module = [], network
    while True:
        counts = {n: _layers(m) for n, m in module._modules.items() if m}
        largest = max(counts, key=counts.get, default=None)
        if largest is None or counts[largest] <= max(
                1, share * sum(counts.values())):
            return '.'.join(path)
        path.append(largest)
        module = module._modules[largest]


def _layers(module: nn.Module) -> int:
    return sum(
        isinstance(m, (nn.modules.conv._ConvNd, nn.Linear))
        for m in module.modules())
