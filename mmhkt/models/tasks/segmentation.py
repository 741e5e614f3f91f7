# Copyright (c) mmhkt authors. All rights reserved.
import sys
from functools import partial
from typing import Any, Callable, Dict, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from mmhkt.inheritance import Dissection
from mmhkt.registry import TASKS
from mmhkt.utils import type_name
from .base import Task

# Their output is a class and a mask for each query.
QUERY_HEADS = ('MaskFormerHead', 'Mask2FormerHead', 'SideAdapterCLIPHead')


@TASKS.register_module()
class Segmentation(Task):
    """Where a segmentor keeps what can be inherited, and how it is scored.

    Args:
        network (BaseSegmentor): The network.
        inherit_auxiliary (bool): Whether the losses of auxiliary heads are
            computed on mixtures too, which costs their forward pass again.
            They judge features of the backbone, so that this makes a
            difference where there is a site. Defaults to False: they judge
            the child's own features only.
    """

    name = 'segmentation'
    networks = 'any segmentor of mmsegmentation'
    padded_in_training = True

    def __init__(self, network: nn.Module, inherit_auxiliary: bool = False):
        super().__init__(network)
        self.inherit_auxiliary = inherit_auxiliary

    @staticmethod
    def owns(network: nn.Module) -> bool:
        """Whether a network is made for this task."""
        # Without mmseg, which is optional, there is no such network.
        mmseg = sys.modules.get('mmseg.models.segmentors')
        return (mmseg is not None and isinstance(network, mmseg.BaseSegmentor)
                and network.with_decode_head)

    @staticmethod
    def as_parent(model: dict) -> dict:
        """Without its head where that classifies queries, not positions: its
        features are as good as others'."""
        heads = model.get('decode_head')
        for head in heads if isinstance(heads, (list, tuple)) else [heads]:
            # SAN has several encoders, and works together with its head.
            if type_name(head) in QUERY_HEADS and model.get('backbone'):
                parts = ('backbone', 'neck', 'data_preprocessor')
                return dict(
                    type='mmhkt.FeatureNetwork',
                    **{part: model[part]
                       for part in parts if model.get(part)})
        return model

    @property
    def head(self) -> nn.Module:
        """The decode head, of a cascade the last one."""
        head = self.network.decode_head
        return head[-1] if isinstance(head, nn.ModuleList) else head

    def logits_site(self, dissection: Dissection) -> str:
        """Where the decode head's logits are.

        That is where they are made, mostly in ``conv_seg``: some heads return
        more than them when they train.
        """
        return dissection.maker(dissection.top_level()[-1])

    def head_site(self, dissection: Dissection) -> Optional[str]:
        """The module whose output the classifier is given, before dropout."""
        modules = dict(self.network.named_modules())
        site = None
        for given in dissection.givers(self.logits_site(dissection)):
            # One that runs more than once returns more than this feature.
            if dissection.runs(given) == 1:
                site = given
            if not isinstance(modules[dissection.split(given)[0]], _DropoutNd):
                break
        return site

    @property
    def exclusive(self) -> bool:
        """Not of one channel, for foreground or not."""
        return self.head.out_channels > 1

    def once(self) -> Sequence[str]:
        """The auxiliary heads."""
        if self.inherit_auxiliary or not self.network.with_auxiliary_head:
            return ()
        return ('auxiliary_head', )

    def samples(self, labels: Tensor) -> list:
        """Args: labels (Tensor): A class a pixel, whole, (B, H, W)."""
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample
        return [
            SegDataSample(
                gt_sem_seg=PixelData(data=label[None]),
                metainfo=dict(img_shape=tuple(label.shape)))
            for label in labels
        ]

    @torch.no_grad()
    def score(self, logits: Tensor, data_samples: list) -> Optional[Tensor]:
        """Accuracy in % of the pixels that are not ignored, at the logits'
        resolution."""
        labels = torch.stack([s.gt_sem_seg.data for s in data_samples])
        labels = F.interpolate(
            labels.float(), size=logits.shape[-2:],
            mode='nearest-exact').squeeze(1)
        if logits.shape[1] > 1:
            predicted = logits.argmax(1)
        else:
            predicted = logits[:, 0].sigmoid() > self.head.threshold
        counted = labels != self.head.ignore_index
        hits = (predicted == labels) & counted
        return 100 * hits.sum() / counted.sum().clamp(min=1)

    @property
    def num_classes(self) -> int:
        """Of the decode head."""
        return self.head.num_classes

    def tally(self, data_sample: Any) -> Dict[Any, int]:
        """Pixels of each class."""
        labels, counts = data_sample.gt_sem_seg.data.unique(return_counts=True)
        return {
            'ignored' if label == self.head.ignore_index else label: count
            for label, count in zip(labels.tolist(), counts.tolist())
        }

    def check(self, training: bool) -> Callable[[dict], None]:
        """See :func:`check_sample`."""
        return partial(
            check_sample,
            training=training,
            num_classes=self.head.num_classes,
            ignore_index=self.head.ignore_index)


def check_sample(sample: dict,
                 num_classes: int,
                 ignore_index: int,
                 training: bool = True) -> None:
    """Check that image and mask belong together and to the network.

    Args:
        sample (dict): ``inputs`` and ``data_samples``, as mmsegmentation's
            pipelines pack them.
        num_classes (int): Of the network.
        ignore_index (int): The label that counts nowhere.
        training (bool): Whether it is one to train with, whose mask has gone
            the way of its image. In testing a mask has the size that its
            image had as a file, and may be missing. Defaults to True.

    Raises:
        ValueError: If not; names the file.
    """
    data_sample = sample['data_samples']
    if 'gt_sem_seg' not in data_sample:
        if not training:
            return
        raise ValueError(
            f'{data_sample.get("img_path")} has no mask, or the pipeline does '
            'not load it (LoadAnnotations).')
    mask = data_sample.gt_sem_seg.data
    if mask.dim() > 3 or mask.dim() == 3 and mask.shape[0] != 1:
        raise ValueError(
            f'The mask of {_file(data_sample)} has {mask.shape[-1]} channels, '
            'labels are wanted: one number a pixel, the class. Convert the '
            'files.')
    size = sample['inputs'].shape[-2:]
    if not training:
        size = data_sample.get('ori_shape', mask.shape)[-2:]
    if tuple(mask.shape[-2:]) != tuple(size):
        raise ValueError(
            'The image of {} is {}x{} pixels, its mask {}x{}.'.format(
                _file(data_sample), *size, *mask.shape[-2:]))
    labels = mask[mask != ignore_index]
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if len(outside):
        raise ValueError(
            f'The mask of {_file(data_sample)} has the label '
            f'{int(outside[0])} ({len(outside)} pixels of labels outside), '
            f'but the network has {num_classes} classes, from 0 on, and '
            f'ignores {ignore_index}. Mend the mask, or set '
            'decode_head.num_classes, reduce_zero_label or metainfo.classes.')


def _file(data_sample) -> str:
    return str(
        data_sample.get('seg_map_path') or data_sample.get('img_path')
        or 'a sample without a path')
