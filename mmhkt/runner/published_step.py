# Copyright (c) mmhkt authors. All rights reserved.
from typing import Dict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PublishedStep:
    r"""The paper's step for a classifier, as one would write it down.

    With pooled features :math:`q` of the child and :math:`z` of the parent,
    of one width, and the gate
    :math:`m = q + \lambda (1 - \sigma(\langle q, z\rangle / \sqrt C)) (z - q)`
    the loss is the sum of the cross-entropies of the child's head on
    :math:`q`, of the child's head on :math:`m` and of the parent's head on
    :math:`m`. Child and parent each run twice, since features and losses are
    asked for apart, and autograd is left on in the parent. It serves timings:
    the losses are those of ``dict(type='mmhkt.HKT', as_published=True)``.

    Args:
        child (ImageClassifier): In training mode.
        parent (ImageClassifier): Frozen by nothing but its eval mode.
        optimizer (torch.optim.Optimizer): Of the child.
        intensity (float): :math:`\lambda`. Defaults to 0.6, as published.
    """

    def __init__(self,
                 child: nn.Module,
                 parent: nn.Module,
                 optimizer: torch.optim.Optimizer,
                 intensity: float = 0.6):
        self.child = child
        self.parent = parent.requires_grad_(True)
        self.optimizer = optimizer
        self.intensity = intensity

    def __call__(self, images: Tensor, labels: Tensor) -> Dict[str, float]:
        """One step.

        Args:
            images (Tensor): Normalised, (B, 3, H, W).
            labels (Tensor): (B, ).

        Returns:
            dict[str, float]: ``native``, ``inherited`` and ``parent_head``.
        """
        losses = self.losses(images, labels)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()
        self.parent.zero_grad()
        return {name: loss.item() for name, loss in losses.items()}

    def losses(self, images: Tensor, labels: Tensor) -> Dict[str, Tensor]:
        """The three losses."""
        native = self.child.head.fc(_pooled(self.child, images))
        self.parent.head.fc(_pooled(self.parent, images))
        q, z = _pooled(self.child, images), _pooled(self.parent, images)
        gate = torch.sigmoid((q * z).sum(1, keepdim=True) / q.shape[1]**0.5)
        mixture = q + self.intensity * (1 - gate) * (z - q)
        return dict(
            native=F.cross_entropy(native, labels),
            inherited=F.cross_entropy(self.child.head.fc(mixture), labels),
            parent_head=F.cross_entropy(self.parent.head.fc(mixture), labels))


def _pooled(network: nn.Module, images: Tensor) -> Tensor:
    return network.extract_feat(images)[-1]
