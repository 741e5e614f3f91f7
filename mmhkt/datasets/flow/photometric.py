# Copyright (c) mmhkt authors. All rights reserved.
"""Transforms that change what frames look like, not where things are."""
from typing import Tuple

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torchvision.transforms import ColorJitter

from mmhkt.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FlowColorJitter(BaseTransform):
    """Change brightness, contrast, saturation and hue of both frames.

    Alike mostly; at times each in its own way, as exposure changes in a film.

    Required and modified keys: ``img1``, ``img2``.

    Args:
        brightness (float): As in torchvision's ``ColorJitter``. Defaults to
            0.4.
        contrast (float): Defaults to 0.4.
        saturation (float): Defaults to 0.4.
        hue (float): In turns of the colour circle. Defaults to 0.16.
        asymmetric_prob (float): How often each frame is changed in its own
            way. Defaults to 0.2.
    """

    def __init__(self,
                 brightness: float = 0.4,
                 contrast: float = 0.4,
                 saturation: float = 0.4,
                 hue: float = 0.16,
                 asymmetric_prob: float = 0.2):
        self.jitter = ColorJitter(brightness, contrast, saturation, hue)
        self.asymmetric_prob = asymmetric_prob

    def transform(self, results: dict) -> dict:
        """Change."""
        frames = torch.from_numpy(
            np.stack([results['img1'], results['img2']])).permute(0, 3, 1, 2)
        if np.random.rand() < self.asymmetric_prob:
            frames = torch.stack([self.jitter(frame) for frame in frames])
        else:
            frames = self.jitter(frames)
        results['img1'], results['img2'] = frames.permute(0, 2, 3, 1).numpy()
        return results


@TRANSFORMS.register_module()
class RandomFlowErase(BaseTransform):
    """Hide pieces of the second frame, so that occlusion is learned.

    They get the frame's mean colour; the flow stays what it is.

    Required and modified key: ``img2``.

    Args:
        prob (float): How often. Defaults to 0.5.
        size (tuple[int, int]): Smallest and largest side of a piece, in
            pixels. Defaults to (50, 100).
        most (int): Largest number of pieces. Defaults to 2.
    """

    def __init__(self,
                 prob: float = 0.5,
                 size: Tuple[int, int] = (50, 100),
                 most: int = 2):
        self.prob = prob
        self.size = tuple(size)
        self.most = most

    def transform(self, results: dict) -> dict:
        """Hide."""
        if np.random.rand() >= self.prob:
            return results
        img = results['img2'].copy()
        colour = img.mean((0, 1)).round()
        for _ in range(np.random.randint(1, self.most + 1)):
            row, column = (np.random.randint(side) for side in img.shape[:2])
            height, width = np.random.randint(
                self.size[0], self.size[1] + 1, size=2)
            img[row:row + height, column:column + width] = colour
        results['img2'] = img
        return results
