# Copyright (c) mmhkt authors. All rights reserved.
import torch
from torch import Tensor

from mmhkt.inheritance import Site
from mmhkt.registry import METHODS
from .distiller import LogitDistiller
from .kd import kl_divergence
from .step import Step


@METHODS.register_module()
class DKD(LogitDistiller):
    r"""Decoupled knowledge distillation.

    From `Decoupled Knowledge Distillation
    <https://arxiv.org/abs/2203.08679>`_ (CVPR 2022): KD's divergence in two
    parts of their own weights, that of the target class against all others
    (``target``, :math:`\alpha`) and that among the others (``nontarget``,
    :math:`\beta`), both times :math:`T^2`.

    Both parts are warmed up linearly over the first twelfth of the training,
    as the paper's code does over 20 of 240 epochs. The best ``nontarget``
    depends on the pair: 2 for the CIFAR pairs resnet56 to resnet20 and
    resnet110 to resnet32, 6 for WRN and VGG, 8 for resnet32x4 to resnet8x4.

    Args:
        temperature, standardise, sites, weights, schedule, sees: See
            :class:`mmhkt.methods.LogitDistiller`.

    Raises:
        ValueError: If the images do not have one label each.
    """

    default_weights = dict(native=1.0, target=1.0, nontarget=8.0)
    default_schedule = tuple(
        dict(knob=f'weights.{term}', start=0.0, stop=1.0, end=1 / 12)
        for term in ('target', 'nontarget'))

    def check(self, site: Site) -> None:
        super().check(site)
        if site.child_layout.kind != 'vector':
            raise ValueError('DKD compares the logits of images, but '
                             f'"{site.child}" is {site.child_layout}; for '
                             'dense logits take KD, DIST or CWD.')

    def target(self, q: Tensor, z: Tensor, i: int, step: Step) -> Tensor:
        """Loss of the target class against all others."""
        labels = single_labels(step.data_samples)
        return self.temperature**2 * kl_divergence(
            *(_target(self.scaled(logits), labels) for logits in (q, z)))

    def nontarget(self, q: Tensor, z: Tensor, i: int, step: Step) -> Tensor:
        """Loss among the other classes."""
        labels = single_labels(step.data_samples)
        return self.temperature**2 * kl_divergence(
            *(_others(self.scaled(logits), labels) for logits in (q, z)))


def single_labels(data_samples: list) -> Tensor:
    """The label of each image, (B, ).

    Raises:
        ValueError: If there are several, or mixed ones.
    """
    if any(
            getattr(sample, 'gt_label', torch.empty(0)).numel() != 1
            or 'gt_score' in sample for sample in data_samples):
        raise ValueError('This method needs one label for each image; it '
                         'cannot be used with mixup, cutmix or several '
                         'labels.')
    return torch.cat([sample.gt_label for sample in data_samples])


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (N, K - 1) of all classes but the target."""
    # By number: what a mask selects has to be counted first, for which the
    # host would wait.
    others = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, others + (others >= labels[:, None]))


def _target(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (N, 2) of the target against all others."""
    own = logits.gather(1, labels[:, None])
    others = _others(logits, labels).logsumexp(1, keepdim=True)
    return torch.cat([own, others], dim=1)
