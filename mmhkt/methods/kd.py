# Copyright (c) mmhkt authors. All rights reserved.
import math

import torch.nn.functional as F
from torch import Tensor

from mmhkt.registry import METHODS
from .distiller import LogitDistiller


@METHODS.register_module()
class KD(LogitDistiller):
    r"""Knowledge distillation: the child's class probabilities imitate the
    parent's.

    From `Distilling the Knowledge in a Neural Network
    <https://arxiv.org/abs/1503.02531>`_ (2015),

    .. math:: T^2 \, KL(\sigma(z / T) \,\|\, \sigma(q / T)),

    the mean over the rows. Default weights, 0.1 native and 0.9
    distillation, and temperature, 4, are those of the benchmarks
    RepDistiller and mdistiller.

    Where classes do not exclude each other (several labels an image, one
    channel for foreground or not) :math:`\sigma` is the sigmoid, and the
    divergence the sum of those of each class.

    Args:
        temperature, standardise, sites, weights, schedule, sees: See
            :class:`mmhkt.methods.LogitDistiller`. For standardised logits
            ``temperature=2, weights=dict(distillation=9.)``.
    """

    default_weights = dict(native=0.1, distillation=0.9)
    class_by_class = True

    def distillation(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of logits (N, K)."""
        divergence = (
            independent_divergence if self.independent else kl_divergence)
        return self.temperature**2 * divergence(self.scaled(q), self.scaled(z))


def kl_divergence(q: Tensor, z: Tensor) -> Tensor:
    """KL of the child's probabilities from the parent's.

    Args:
        q (Tensor): The child's logits (N, K).
        z (Tensor): The parent's logits (N, K).

    Returns:
        Tensor: Mean over the rows.
    """
    q, z = q.log_softmax(1), z.log_softmax(1)
    return _divergence(z.exp(), z, q).sum() / len(q)


def independent_divergence(q: Tensor, z: Tensor) -> Tensor:
    """KL of the child's probabilities from the parent's, of each class by
    itself, summed over the classes.

    Args:
        q (Tensor): The child's logits (N, K).
        z (Tensor): The parent's logits (N, K).

    Returns:
        Tensor: Mean over the rows.
    """
    yes = _divergence(z.sigmoid(), F.logsigmoid(z), F.logsigmoid(q))
    no = _divergence((-z).sigmoid(), F.logsigmoid(-z), F.logsigmoid(-q))
    return (yes + no).sum(1).mean()


def _divergence(probability: Tensor, log_z: Tensor, log_q: Tensor) -> Tensor:
    """What each probability adds to the divergence; one that the parent rules
    out (a logit of -inf) nothing, not 0 times infinity."""
    ruled_out = log_z == -math.inf
    return probability * (log_z - log_q).masked_fill(ruled_out, 0)
