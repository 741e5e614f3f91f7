# Copyright (c) mmhkt authors. All rights reserved.
from typing import Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor

from mmhkt.registry import MODELS
from mmhkt.structures import FlowDataSample
from mmhkt.utils import one_of

# Pixels at the left, the right, the top and the bottom.
Padding = Tuple[int, int, int, int]


@MODELS.register_module()
class FlowDataPreprocessor(BaseDataPreprocessor):
    """Normalises pairs of frames and pads them to what a network takes.

    A pair is one tensor of six channels, the first frame before the second,
    so that a flow network is, outwardly, a network of one image as all others
    are. Frames are padded by repeating their borders; what was added is noted
    in each sample as ``padding`` (left, right, top, bottom).

    A batch of several sizes is padded to the largest of them. Since a network
    sees the padding, predictions then depend a little on what else is in the
    batch; evaluate one pair at a time where sizes differ.

    Args:
        mean (Sequence[float]): Of the three channels. Defaults to 127.5,
            which with ``std`` maps to [-1, 1], as torchvision does.
        std (Sequence[float]): Of the three channels. Defaults to 127.5.
        pad (str): How RAFT pads on a data set: ``'sintel'``, evenly on both
            sides, or ``'kitti'``, where rows are added at the bottom only
            and columns on both sides. Defaults to ``'sintel'``.
        divisor (int): Padded sizes are multiples of it. Defaults to 8.
        non_blocking (bool): Whether copying to the device may go on while
            the program does. Defaults to False.

    Raises:
        ValueError: If ``pad`` is unknown, mean or standard deviation are not
            of three channels, or a pair has not six.
    """

    def __init__(self,
                 mean: Sequence[float] = (127.5, 127.5, 127.5),
                 std: Sequence[float] = (127.5, 127.5, 127.5),
                 pad: str = 'sintel',
                 divisor: int = 8,
                 non_blocking: bool = False):
        super().__init__(non_blocking)
        self.pad = one_of('pad', pad, ('sintel', 'kitti'))
        self.divisor = divisor
        for name, values in (('mean', mean), ('std', std)):
            if len(values) != 3:
                raise ValueError(f'{name} must have three values, but got '
                                 f'{list(values)}.')
            self.register_buffer(
                name,
                torch.tensor([*values, *values]).float().view(-1, 1, 1),
                persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Preprocess a batch.

        Args:
            data (dict): ``inputs``, a list of pairs (6, H, W) or a batch
                (B, 6, H, W), values from 0 to 255, and optionally
                ``data_samples``.
            training (bool): Makes no difference.

        Returns:
            dict: ``inputs``, float, (B, 6, H', W'), and ``data_samples``.
        """
        data = self.cast_data(data)
        pairs = data['inputs']
        for pair in pairs:
            if pair.ndim != 3 or len(pair) != 6:
                raise ValueError(
                    'A pair of frames is a tensor (6, H, W), but got '
                    f'{tuple(pair.shape)}.')
        samples = data.get('data_samples') or [FlowDataSample() for _ in pairs]
        size = [
            -(-max(lengths) // self.divisor) * self.divisor
            for lengths in zip(*(pair.shape[-2:] for pair in pairs))
        ]
        batch = []
        for pair, sample in zip(pairs, samples):
            padding = self.padding(pair.shape[-2:], size)
            sample.set_metainfo(dict(padding=padding))
            batch.append(
                F.pad(
                    (pair - self.mean) / self.std, padding, mode='replicate'))
        return dict(inputs=torch.stack(batch), data_samples=samples)

    def padding(self, size: Sequence[int], padded: Sequence[int]) -> Padding:
        """What has to be added around an image of (H, W) pixels."""
        rows, columns = (new - old for old, new in zip(size, padded))
        top = rows // 2 if self.pad == 'sintel' else 0
        return columns // 2, columns - columns // 2, top, rows - top
