# Copyright (c) mmhkt authors. All rights reserved.
"""Transforms that move both frames and their flow together."""
from typing import Tuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmhkt.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomFlowCrop(BaseTransform):
    """Scale and stretch a pair at random, and cut a piece out.

    As `RAFT <https://arxiv.org/abs/2003.12039>`_ is trained: both sides are
    scaled by :math:`2^s`, and, stretched, each by another factor on top. A
    pair is never scaled to less than the piece, and one that is smaller is
    always scaled up to it.

    Flow is scaled with the image that it lies in. Where it is known at single
    pixels only (``sparse``), each of them moves to where it then is, instead
    of being blended with neighbours of which nothing is known.

    Required keys: ``img1``, ``img2``, ``gt_flow``, ``valid``, ``sparse``, all
    of which but the last are modified.

    Args:
        crop_size (tuple[int, int]): Height and width of the piece.
        min_scale (float): Smallest s. Defaults to -0.2.
        max_scale (float): Largest s. Defaults to 0.5.
        scale_prob (float): How often a pair is scaled. Defaults to 0.8.
        max_stretch (float): Largest s of a stretch. Defaults to 0.2.
        stretch_prob (float): How often a scaled pair is also stretched.
            Defaults to 0.8.
    """

    def __init__(self,
                 crop_size: Tuple[int, int],
                 min_scale: float = -0.2,
                 max_scale: float = 0.5,
                 scale_prob: float = 0.8,
                 max_stretch: float = 0.2,
                 stretch_prob: float = 0.8):
        self.crop_size = tuple(crop_size)
        self.scale = (min_scale, max_scale)
        self.scale_prob = scale_prob
        self.stretch = (-max_stretch, max_stretch)
        self.stretch_prob = stretch_prob

    def transform(self, results: dict) -> dict:
        """Scale and crop."""
        size = results['img1'].shape[:2]
        wanted = self._size(size)
        if wanted != size:
            resize_pair(results, wanted)
        rows, columns = (slice(
            start, start + length) for start, length in zip((
                np.random.randint(old - new + 1)
                for old, new in zip(wanted, self.crop_size)), self.crop_size))
        for key in ('img1', 'img2', 'gt_flow', 'valid'):
            results[key] = results[key][rows, columns]
        return results

    def _size(self, size: Tuple[int, int]) -> Tuple[int, int]:
        scales = [1.0, 1.0]
        if np.random.rand() < self.scale_prob:
            scales = [2**np.random.uniform(*self.scale)] * 2
            if np.random.rand() < self.stretch_prob:
                scales = [
                    scale * 2**np.random.uniform(*self.stretch)
                    for scale in scales
                ]
        return tuple(
            max(round(length * scale), least)
            for length, scale, least in zip(size, scales, self.crop_size))


@TRANSFORMS.register_module()
class RandomFlowFlip(BaseTransform):
    """Mirror a pair at random, and turn its flow round accordingly.

    Required keys: ``img1``, ``img2``, ``gt_flow``, ``valid``, all modified.

    Args:
        horizontal (float): How often left becomes right. Defaults to 0.5.
        vertical (float): How often up becomes down. Defaults to 0.1.
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.1):
        self.horizontal = horizontal
        self.vertical = vertical

    def transform(self, results: dict) -> dict:
        """Flip."""
        signs = np.ones(2, np.float32)
        # The component of the flow, the axis of the image.
        for component, axis, prob in ((0, 1, self.horizontal),
                                      (1, 0, self.vertical)):
            if np.random.rand() < prob:
                for key in ('img1', 'img2', 'gt_flow', 'valid'):
                    results[key] = np.flip(results[key], axis)
                signs[component] = -1
        results['gt_flow'] = results['gt_flow'] * signs
        return results


def resize_pair(results: dict, size: Tuple[int, int]) -> None:
    """Bring a pair and its flow to another (H, W), in place."""
    old_height, old_width = results['img1'].shape[:2]
    height, width = size
    for key in ('img1', 'img2'):
        results[key] = cv2.resize(results[key], (width, height))
    factors = np.float32([width / old_width, height / old_height])
    flow, valid = results['gt_flow'], results['valid']
    if results['sparse']:
        results['gt_flow'] = np.zeros((height, width, 2), np.float32)
        results['valid'] = np.zeros((height, width), bool)
        rows, columns = np.nonzero(valid)
        # Centres of pixels lie at halves, as they do when images are resized.
        new_rows = ((rows + 0.5) * factors[1]).astype(int)
        new_columns = ((columns + 0.5) * factors[0]).astype(int)
        results['gt_flow'][new_rows, new_columns] = flow[valid] * factors
        results['valid'][new_rows, new_columns] = True
    else:
        results['gt_flow'] = cv2.resize(flow, (width, height)) * factors
        # Known is what is made of known pixels alone.
        results['valid'] = cv2.resize(
            valid.astype(np.float32), (width, height)) > 0.999
