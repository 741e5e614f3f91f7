# Copyright (c) mmhkt authors. All rights reserved.
from collections import Counter
from functools import partial
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import torch
from mmpretrain.models import BaseClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmhkt.inheritance import Dissection
from mmhkt.registry import TASKS
from mmhkt.utils.settings import shown
from .base import Task


@TASKS.register_module()
class Classification(Task):
    """Where a classifier keeps what can be inherited, and how it is scored.
    """

    name = 'classification'
    networks = 'any classifier of mmpretrain'

    def __init__(self, network: nn.Module):
        super().__init__(network)
        if not hasattr(network, 'backbone'):
            self.backbone = ''  # the network itself

    @staticmethod
    def owns(network: nn.Module) -> bool:
        """Whether a network is made for this task."""
        return isinstance(network, BaseClassifier)

    @property
    def headless(self) -> bool:
        """Whether it is one of mmpretrain's that only return features."""
        return getattr(self.network, 'head', self) is None

    def check_child(self) -> None:
        """Without a head there is no loss, nor with two heads of mmpretrain
        for a distillation that it only deploys."""
        if self.headless:
            raise ValueError(
                f'The child ({type(self.network).__name__}) has no head, so '
                'that it has no loss to be trained with; set model.head.')
        head = getattr(self.network, 'head', None)
        if type(head).__name__ in ('LeViTClsHead', 'EfficientFormerClsHead'
                                   ) and (getattr(head, 'distillation', False)
                                          or getattr(head, 'dist', False)):
            raise ValueError(
                f"mmpretrain cannot train the child's {type(head).__name__} "
                'with its second classifier, which is there for another '
                'distillation; set model=dict(head=dict(distillation=False)).')

    def logits_site(self, dissection: Dissection) -> Optional[str]:
        """The module that returns the logits: the last one to run; None where
        it returns some for each of several tasks, has no head, or, of another
        house, returns several features of which none is called logits."""
        if self.headless:
            return None
        last = dissection.top_level()[-1]
        names = dissection.names(last)
        if not self.backbone and len(names) > 1 and 'logits' not in names:
            return None
        return None if 'task_heads' in dict(
            self.network.get_submodule(last).named_children()) else last

    @property
    def exclusive(self) -> bool:
        """Not of heads for several labels an image, nor of other networks
        whose loss is a binary cross entropy."""
        head = getattr(self.network, 'head', None)
        return 'MultiLabel' not in type(head).__name__ and not getattr(
            self.network, 'binary', False)

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
        # Of a row of its own, else mmpretrain makes a new tensor, on the CPU.
        return [
            DataSample().set_gt_label(label)
            for label in labels.long().view(-1, 1)
        ]

    def check(self, training: bool) -> Optional[Callable[[dict], None]]:
        """See :func:`check_sample`; None of heads that do not say how many
        classes they have."""
        if self.num_classes is None:
            return None
        return partial(
            check_sample,
            num_classes=self.num_classes,
            training=training,
            several=not self.exclusive)

    @property
    def num_classes(self) -> Optional[int]:
        """As the head says."""
        classes = getattr(
            getattr(self.network, 'head', None), 'num_classes', None)
        return classes if isinstance(classes, int) and classes > 0 else None

    def tally(self, data_sample: DataSample) -> Dict[Any, int]:
        """Each label once."""
        label = data_sample.get('gt_label')
        if not isinstance(label, Tensor):
            return {}
        return Counter(label.flatten().tolist())

    def check_labels(self, labels: np.ndarray, dataset: Any) -> List[int]:
        """The classes without an image."""
        classes = self.num_classes
        if classes is None:
            return []
        # A row of several labels, where classes do not exclude each other.
        outside = ((labels < 0) | (labels >= classes)).reshape(
            len(labels), -1).any(1).nonzero()[0]
        if len(outside):
            first = int(outside[0])
            path = dataset.get_data_info(first).get('img_path')
            raise ValueError(
                f'The label of {path or f"image {first}"} is '
                f'{labels[first]}, as are {len(outside) - 1} more outside, '
                f'but the network has {classes} classes, from 0 on. Mend the '
                'labels or folders, or set head.num_classes.')
        return sorted(set(range(classes)) - set(np.unique(labels).tolist()))

    def score(self, logits: Tensor, data_samples: list) -> Optional[Tensor]:
        """Accuracy in %, None where labels are mixed or not single."""
        if not all('gt_label' in s and 'gt_score' not in s
                   for s in data_samples):
            return None
        labels: List[Tensor] = [s.gt_label for s in data_samples]
        if any(label.numel() != 1 for label in labels):
            return None
        return (logits.argmax(1) == torch.cat(labels)).float().mean() * 100


def check_sample(sample: dict,
                 num_classes: int,
                 training: bool = True,
                 several: bool = False) -> None:
    """Check that a label belongs to the network.

    Args:
        sample (dict): ``inputs`` and ``data_samples``, as mmpretrain's
            pipelines pack them.
        num_classes (int): Of the network.
        training (bool): Whether it is one to train with, which has to have a
            label. Defaults to True.
        several (bool): Whether an image may have any number of labels.
            Defaults to False.

    Raises:
        ValueError: If not; names the file and the label.
    """
    data_sample = sample.get('data_samples')
    if data_sample is None or not isinstance(
            data_sample.get('gt_label'), (Tensor, type(None))):
        return  # of several tasks, or packed in a way of the user's own
    what = _file(data_sample)
    label = data_sample.get('gt_label')
    if label is None or not label.numel():
        if training and not several and 'gt_score' not in data_sample:
            raise ValueError(f'{what} has no label.')
        return
    wants = (f'but the network has {num_classes} classes, from 0 on. Mend the '
             'label, or set head.num_classes.')
    if label.is_floating_point() or label.is_complex():
        raise ValueError(
            f'The label of {what} is {shown(label.tolist())}, no whole '
            f'number, {wants}')
    outside = label[(label < 0) | (label >= num_classes)]
    if outside.numel():
        raise ValueError(
            f'The label of {what} is {int(outside.flatten()[0])}, {wants}')
    score = data_sample.get('gt_score')
    if isinstance(score, Tensor) and score.shape[-1] != num_classes:
        raise ValueError(f'{what} has scores of {score.shape[-1]} classes, '
                         f'{wants}')


def _file(data_sample) -> str:
    path = data_sample.get('img_path')
    if path:
        return str(path)
    return f'image {data_sample.get("sample_idx", "without a number")}'
