# Copyright (c) mmhkt authors. All rights reserved.
import math
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import torch.nn.functional as F
from torch import Tensor

# Tokens in front of the patches.
MOST_EXTRA = 5


@dataclass(frozen=True)
class Layout:
    """How a feature lies in its tensor, seen in a dry run.

    Attributes:
        kind (str): ``'vector'`` (B, C), ``'map'`` (B, C, H, W) or
            ``'tokens'`` (B, N, C).
        channels (int): C.
        grid (tuple[int, int], optional): Rows and columns of a map or of the
            patch tokens.
        extra (int): Tokens in front of the patches (class, distillation,
            registers).
        stride (float, optional): Height of the image over that of the grid.
    """
    kind: str
    channels: int
    grid: Optional[Tuple[int, int]] = None
    extra: int = 0
    stride: Optional[float] = None

    @classmethod
    def of(cls, shape: Sequence[int], image_size: Tuple[int, int]) -> 'Layout':
        """Read the layout off a feature's shape.

        Args:
            shape (Sequence[int]): Of 2, 3 or 4 dimensions.
            image_size (tuple[int, int]): Height and width of the image that
                the network was given, in pixels.

        Raises:
            ValueError: Where the shape is none of the three kinds.
        """
        shape = tuple(shape)
        if len(shape) == 2:
            return cls('vector', shape[1])
        if len(shape) == 4:
            return cls(
                'map', shape[1], shape[2:], stride=image_size[0] / shape[2])
        if len(shape) == 3:
            # A class token, one of distillation and up to four registers may
            # stand in front; a factorisation with the image's aspect ratio
            # exists for hardly more than one of these counts.
            for extra in range(MOST_EXTRA + 1):
                grid = factorise(shape[1] - extra, image_size)
                if grid is not None:
                    return cls('tokens', shape[2], grid, extra,
                               image_size[0] / grid[0])
        raise ValueError(
            f'a feature of shape {shape} is neither a vector (B, C), nor a '
            'map (B, C, H, W), nor tokens (B, N, C) on a grid of the '
            f"image's aspect ratio ({image_size[0]}x{image_size[1]})")

    def alike(self, other: 'Layout') -> bool:
        """Whether a hint may compare channel with channel: there are as many,
        and not of a map here and of tokens there, which are of networks of two
        families."""
        return (self.channels == other.channels
                and {self.kind, other.kind} != {'map', 'tokens'})

    def __str__(self) -> str:
        if self.kind == 'vector':
            return f'{self.channels}'
        rows, columns = self.grid
        if self.kind == 'map':
            return f'{self.channels}x{rows}x{columns}'
        extra = f'{self.extra}+' if self.extra else ''
        return f'({extra}{rows}x{columns})x{self.channels}'


def factorise(count: int, aspect: Tuple[int,
                                        int]) -> Optional[Tuple[int, int]]:
    """Rows and columns of ``count`` patches with a height:width ratio.

    Returns:
        tuple[int, int] | None: None where no such grid exists.
    """
    if count < 1:
        return None
    rows = round(math.sqrt(count * aspect[0] / aspect[1]))
    if rows < 1 or count % rows:
        return None
    columns = count // rows
    # A grid is the image over one patch size, rounded up at the border.
    if abs(columns * aspect[0] / aspect[1] - rows) >= 1:
        return None
    return rows, columns


def as_map(feature: Tensor, layout: Layout) -> Tensor:
    """A feature as a map (B, C, H, W).

    Tokens are folded into one, without those in front; a vector is a map of
    one position.

    Raises:
        ValueError: If tokens do not lie on a grid of the aspect ratio that
            the layout was seen with.
    """
    if layout.kind == 'map':
        return feature
    if layout.kind == 'vector':
        return feature[:, :, None, None]
    patches = feature[:, layout.extra:].transpose(1, 2)
    grid = grid_of(patches.shape[-1], layout)
    return patches.reshape(*patches.shape[:2], *grid)


def as_vector(feature: Tensor, layout: Layout) -> Tensor:
    """A feature pooled to a vector (B, C); a class token serves as it is."""
    if layout.kind == 'vector':
        return feature
    if layout.kind == 'map':
        return feature.mean(dim=(2, 3))
    return feature[:, 0] if layout.extra else feature.mean(dim=1)


def grid_of(patches: int, layout: Layout) -> Tuple[int, int]:
    """Rows and columns of patch tokens, whose layout may have been seen at
    another image size but one aspect ratio.

    Raises:
        ValueError: If they lie on no such grid.
    """
    grid = factorise(patches, layout.grid)
    if grid is None:
        raise ValueError(
            f'{patches} patch tokens do not lie on a grid of the aspect '
            f'ratio seen before ({layout.grid[0]}x{layout.grid[1]}); images '
            'of several aspect ratios need sites with maps.')
    return grid


def resize(feature: Tensor, size: Sequence[int]) -> Tensor:
    """A map at another size: means when shrinking, bilinear otherwise."""
    size = tuple(size)
    if tuple(feature.shape[-2:]) == size:
        return feature
    if all(new <= old for new, old in zip(size, feature.shape[-2:])):
        return F.adaptive_avg_pool2d(feature, size)
    return F.interpolate(
        feature, size=size, mode='bilinear', align_corners=False)


def channels_last(shape: Sequence[int], image_size: Tuple[int, int],
                  declared: bool) -> bool:
    """Whether a map is (B, H, W, C) rather than (B, C, H, W).

    Told by which two of its sizes have the aspect ratio of the image.

    Args:
        shape (Sequence[int]): Of the feature.
        image_size (tuple[int, int]): Height and width of the image.
        declared (bool): What holds where it cannot be told.
    """
    if len(shape) != 4:
        return False
    first, last = (_fits(grid, image_size) for grid in (shape[2:], shape[1:3]))
    return last and (declared or not first)


def _fits(grid: Sequence[int], image_size: Tuple[int, int]) -> bool:
    rows, columns = grid
    height, width = image_size
    if rows > height or columns > width:
        return False
    # Rounded up or down at the border, and once more for each halving.
    return abs(columns * height / width - rows) <= 1 + height / width
