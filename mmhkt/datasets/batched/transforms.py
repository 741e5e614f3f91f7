# Copyright (c) mmhkt authors. All rights reserved.
"""Random transforms of whole batches, each drawn image by image.

What a transform of one image draws, its counterpart draws for every image of
a batch, from the same distribution; what it then does to the pixels is the
same. Numbers are drawn on the CPU, so that they do not depend on the device.
"""
import math
from typing import Callable, Dict, List, Sequence, Tuple, Type

import torch
import torch.nn.functional as F
from mmcv.transforms import RandomFlip
from mmengine.utils import to_2tuple
from mmpretrain.datasets.transforms import (ColorJitter, Cutout, RandomCrop,
                                            RandomErasing)
from torch import Generator, Tensor

# The weights of PIL's grey, in parts of 2 ** 16, for red, green and blue. It
# is given BGR images by mmcv, whatever they are.
GREY = (7471, 38470, 19595)


class Unbatched(ValueError):
    """A transform, or a setting of it, that has no counterpart."""


class BatchedTransform:
    """The counterpart of a transform of one image.

    Args:
        transform (BaseTransform): The one of the pipeline; its settings are
            taken.
    """

    def __init__(self, transform):
        self.transform = transform

    def __call__(self, images: Tensor, draw: Generator) -> Tensor:
        """Transform a batch.

        Args:
            images (Tensor): uint8, (B, C, H, W). Is not changed.
            draw (Generator): Where random numbers come from, on the CPU.

        Returns:
            Tensor: uint8, (B, C, H', W').
        """
        raise NotImplementedError


# Of a transform's class, its counterpart's.
BATCHED: Dict[type, Type[BatchedTransform]] = {}


def counterpart_of(kind: type) -> Callable:
    """Register a counterpart; of a class itself, not of those derived from
    it, which may do anything."""

    def register(batched: Type[BatchedTransform]) -> Type[BatchedTransform]:
        BATCHED[kind] = batched
        return batched

    return register


@counterpart_of(RandomCrop)
class BatchedCrop(BatchedTransform):
    """Padded alike, cropped each at a place of its own."""

    # Of OpenCV's border types, that mmcv pads with, the name in torch.
    MODES = dict(constant='constant', edge='replicate', reflect='reflect')

    def __init__(self, transform: RandomCrop):
        super().__init__(transform)
        if transform.padding_mode not in self.MODES:
            raise Unbatched(
                f'RandomCrop with padding_mode={transform.padding_mode!r}')

    def __call__(self, images: Tensor, draw: Generator) -> Tensor:
        crop = self.transform
        # `padding` is with a constant whatever the mode, as mmpretrain has it.
        if crop.padding is not None:
            images = _pad(images, _sides(crop.padding), crop.pad_val)
        height, width = crop.crop_size
        if crop.pad_if_needed:
            rows = math.ceil(max(0, height - images.shape[2]) / 2)
            columns = math.ceil(max(0, width - images.shape[3]) / 2)
            images = _pad(images, (columns, columns, rows, rows), crop.pad_val,
                          self.MODES[crop.padding_mode])
        size = images.shape[2:]
        height, width = min(height, size[0]), min(width, size[1])
        top = _integers(len(images), size[0] - height + 1, draw)
        left = _integers(len(images), size[1] - width + 1, draw)
        windows = images.unfold(2, height, 1).unfold(3, width, 1)
        number = torch.arange(len(images), device=images.device)
        return windows[number, :, _to(top, images), _to(left, images)]


@counterpart_of(RandomFlip)
class BatchedFlip(BatchedTransform):
    """Each image in a direction of its own, or in none."""

    AXES = dict(horizontal=(3, ), vertical=(2, ), diagonal=(2, 3))

    def __call__(self, images: Tensor, draw: Generator) -> Tensor:
        flip = self.transform
        directions = flip.direction
        if isinstance(directions, str):
            directions = [directions]
        shares = flip.prob
        if not isinstance(shares, list):
            shares = [shares / len(directions)] * len(directions)
        drawn = torch.rand(len(images), generator=draw)
        before, flipped = 0.0, images.clone()
        for direction, share in zip(directions, shares):
            chosen = (drawn >= before) & (drawn < before + share)
            # Found on the CPU, so that no device is waited for.
            numbers = _to(chosen.nonzero()[:, 0], images)
            turned = images.index_select(0, numbers)
            flipped.index_copy_(0, numbers, turned.flip(self.AXES[direction]))
            before += share
        return flipped


@counterpart_of(RandomErasing)
class BatchedErasing(BatchedTransform):
    """A rectangle of each image, of its own size and at its own place."""

    def __call__(self, images: Tensor, draw: Generator) -> Tensor:
        erase, count = self.transform, len(images)
        height, width = images.shape[2:]
        chosen = torch.rand(count, generator=draw) <= erase.erase_prob
        logs = [math.log(bound) for bound in erase.aspect_range]
        aspect = _uniform(count, *logs, draw).exp()
        area = height * width * _uniform(count, erase.min_area_ratio,
                                         erase.max_area_ratio, draw)
        rows = (area * aspect).sqrt().round().clamp(max=height)
        columns = (area / aspect).sqrt().round().clamp(max=width)
        # A place is one less than fit, as mmpretrain has it.
        top = _below((height - rows).clamp(min=1), draw)
        left = _below((width - columns).clamp(min=1), draw)
        inside = _inside(images, top, top + rows, left,
                         left + columns) & _each(chosen, images)
        return torch.where(inside, self._fill(images, draw), images)

    def _fill(self, images: Tensor, draw: Generator) -> Tensor:
        erase = self.transform
        colour = torch.tensor(erase.fill_color).view(1, -1, 1, 1)
        if erase.mode == 'const':
            return _to(colour.to(torch.uint8), images)
        if erase.fill_std is None:
            noise = torch.randint(
                256, images.shape, generator=draw, dtype=torch.uint8)
        else:
            std = torch.tensor(erase.fill_std).view(1, -1, 1, 1)
            noise = torch.randn(images.shape, generator=draw) * std + colour
            noise = noise.trunc().clamp(0, 255).to(torch.uint8)
        return _to(noise, images)


@counterpart_of(Cutout)
class BatchedCutout(BatchedTransform):
    """A rectangle of one size, cut off at the image's edges."""

    def __init__(self, transform: Cutout):
        super().__init__(transform)
        if transform.shape is None:
            raise Unbatched('Cutout with a magnitude_range')

    def __call__(self, images: Tensor, draw: Generator) -> Tensor:
        cut, count = self.transform, len(images)
        rows, columns = to_2tuple(cut.shape)
        height, width = images.shape[2:]
        chosen = torch.rand(count, generator=draw) <= cut.prob
        # The middle is never in the first pixel, as mmcv has it.
        top, left = ((_uniform(count, 1, size, draw) -
                      side / 2).clamp(min=0).floor()
                     for size, side in ((height, rows), (width, columns)))
        inside = _inside(images, top, top + rows, left,
                         left + columns) & _each(chosen, images)
        value = cut.pad_val
        values = value if isinstance(value, Sequence) else [value]
        filled = torch.tensor(values).to(torch.uint8).view(1, -1, 1, 1)
        return torch.where(inside, _to(filled, images), images)


@counterpart_of(ColorJitter)
class BatchedColours(BatchedTransform):
    """Brightness, contrast and saturation, in an order drawn for the image.

    The arithmetic is PIL's, to the last bit.
    """

    def __init__(self, transform: ColorJitter):
        super().__init__(transform)
        if transform.hue is not None:
            raise Unbatched('ColorJitter with a hue')
        if transform.backend != 'pillow':
            raise Unbatched(f'ColorJitter with backend={transform.backend!r}')

    def __call__(self, images: Tensor, draw: Generator) -> Tensor:
        jitter, count = self.transform, len(images)
        orders = torch.rand(count, 3, generator=draw).argsort(1)
        ranges = (jitter.brightness, jitter.contrast, jitter.saturation)
        factors = torch.stack([
            _uniform(count, *(bounds or (1.0, 1.0)), draw) for bounds in ranges
        ], 1)
        changes = _brightness, _contrast, _saturation
        for place in range(3):
            for i, change in enumerate(changes):
                if ranges[i] is None:
                    continue
                chosen = orders[:, place] == i
                factor = _each(factors[:, i], images)
                images = torch.where(
                    _each(chosen, images), change(images, factor), images)
        return images


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(torch.zeros_like(images), images, factor)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    mean = _grey(images).float().mean((1, 2, 3), keepdim=True)
    return _blend((mean + 0.5).floor().expand_as(images), images, factor)


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(_grey(images).expand_as(images), images, factor)


def _grey(images: Tensor) -> Tensor:
    weights = _to(torch.tensor(GREY, dtype=torch.int32), images)
    parts = images.to(torch.int32) * weights.view(1, -1, 1, 1)
    return (parts.sum(1, keepdim=True) + 0x8000) >> 16


def _blend(plain: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    plain = plain.float()
    blended = plain + factor * (images.float() - plain)
    return blended.clamp(0, 255).to(torch.uint8)  # cut off, not rounded


def _pad(images: Tensor,
         sides: Tuple[int, int, int, int],
         value,
         mode: str = 'constant') -> Tensor:
    if not any(sides):
        return images
    if mode != 'constant':
        # torch reflects and repeats numbers with a fraction only.
        return F.pad(images.float(), sides, mode).to(images.dtype)
    # One number is for the first channel, as OpenCV has it.
    values = value if isinstance(value, Sequence) else (value, 0, 0)
    if len(set(values)) == 1:
        return F.pad(images, sides, value=values[0])
    channels = [
        F.pad(images[:, i:i + 1], sides, value=v) for i, v in enumerate(values)
    ]
    return torch.cat(channels, 1)


def _sides(padding) -> Tuple[int, int, int, int]:
    """Left, right, top and bottom, of what mmcv takes."""
    if isinstance(padding, int):
        return (padding, ) * 4
    if len(padding) == 2:
        return padding[0], padding[0], padding[1], padding[1]
    left, top, right, bottom = padding
    return left, right, top, bottom


def _inside(images: Tensor, top: Tensor, bottom: Tensor, left: Tensor,
            right: Tensor) -> Tensor:
    """Of each image the pixels in a rectangle, (B, 1, H, W)."""
    edges: List[Tensor] = [
        _to(edge, images)[:, None] for edge in (top, bottom, left, right)
    ]
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= edges[0]) & (rows < edges[1])
    in_columns = (columns >= edges[2]) & (columns < edges[3])
    return in_rows[:, None, :, None] & in_columns[:, None, None, :]


def _each(drawn: Tensor, images: Tensor) -> Tensor:
    """One value an image, (B, 1, 1, 1)."""
    return _to(drawn, images)[:, None, None, None]


def _to(drawn: Tensor, images: Tensor) -> Tensor:
    return drawn.to(images.device, non_blocking=True)


def _uniform(count: int, low: float, high: float, draw: Generator) -> Tensor:
    return torch.rand(count, generator=draw) * (high - low) + low


def _integers(count: int, end: int, draw: Generator) -> Tensor:
    return torch.randint(end, (count, ), generator=draw)


def _below(ends: Tensor, draw: Generator) -> Tensor:
    """Whole numbers from 0 up to, and without, each end."""
    drawn = torch.rand(len(ends), generator=draw) * ends
    return drawn.floor().minimum(ends - 1)
