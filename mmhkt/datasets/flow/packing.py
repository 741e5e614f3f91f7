# Copyright (c) mmhkt authors. All rights reserved.
from typing import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmhkt.registry import TRANSFORMS
from mmhkt.structures import FlowDataSample


@TRANSFORMS.register_module()
class PackFlowInputs(BaseTransform):
    """Pack a pair as flow networks take it.

    Required keys: ``img1``, ``img2`` and, where the flow is known,
    ``gt_flow`` and ``valid``. Added keys: ``inputs``, uint8, (6, H, W), and
    ``data_samples``, a :class:`mmhkt.structures.FlowDataSample`; the others
    go.

    Args:
        meta_keys (Sequence[str]): What else the data sample keeps. Defaults
            to ``('img_path', 'flow_path', 'subset', 'sample_idx')``.
    """

    def __init__(self,
                 meta_keys: Sequence[str] = ('img_path', 'flow_path', 'subset',
                                             'sample_idx')):
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack."""
        sample = FlowDataSample(metainfo={
            key: results[key]
            for key in self.meta_keys if key in results
        })
        if 'gt_flow' in results:
            sample.gt_flow = _channels_first(results['gt_flow'])
            sample.valid = torch.from_numpy(
                np.ascontiguousarray(results['valid']))
        pair = np.concatenate([results['img1'], results['img2']], axis=2)
        return dict(inputs=_channels_first(pair), data_samples=sample)


def _channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
