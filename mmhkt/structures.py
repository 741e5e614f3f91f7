# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

FLOWS = ('gt_flow', 'pred_flow', 'init_flow')


class FlowDataSample(BaseDataElement):
    """What belongs to one pair of frames beside its pixels.

    A flow is float, of shape (2, H, W), in pixels: ``flow[0]`` to the right
    and ``flow[1]`` down, from the first frame to the second.

    - ``gt_flow``: what is true;
    - ``valid``: bool, of shape (H, W), where ``gt_flow`` is known;
    - ``pred_flow``: what a network found;
    - ``init_flow``: what a network may begin from.

    Raises:
        ValueError: If something of these names has another shape.

    Examples:
        >>> import torch
        >>> from mmhkt.structures import FlowDataSample
        >>> sample = FlowDataSample(metainfo=dict(img_path='000000_10.png'))
        >>> sample.gt_flow = torch.zeros(2, 4, 6)
        >>> sample.valid = torch.ones(4, 6, dtype=torch.bool)
    """

    def set_field(self, value: Any, name: str, *args, **kwargs) -> None:
        """Set a field; those of a known name are checked."""
        if name in FLOWS:
            _check(
                name, value, '(2, H, W), float',
                isinstance(value, Tensor) and value.is_floating_point()
                and value.ndim == 3 and len(value) == 2)
        elif name == 'valid':
            _check(
                name, value, '(H, W), bool',
                isinstance(value, Tensor) and value.ndim == 2
                and value.dtype == torch.bool)
        super().set_field(value, name, *args, **kwargs)


def _check(name: str, value: Any, wanted: str, fits: bool) -> None:
    if fits:
        return
    got = (f'{tuple(value.shape)}, {value.dtype}'
           if isinstance(value, Tensor) else type(value).__name__)
    raise ValueError(f'{name} must be a tensor {wanted}, but got {got}.')
