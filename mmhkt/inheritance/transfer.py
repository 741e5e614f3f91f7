# Copyright (c) mmhkt authors. All rights reserved.
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layout import Layout, factorise


class Transfer(nn.Module):
    """T: brings a feature of one network into the other's layout.

    First in space (resized, tokens folded into maps and back, pooled), then
    in width (a bias-free linear projection, 1x1 on maps). Without a
    difference it is the identity and has no parameter.

    Class tokens go to class tokens; where the source has none, the mean over
    its positions does. A class token serves as the pooled vector of its
    network.

    Args:
        source (Layout): Of the feature that is brought over.
        target (Layout): Of the feature beside which it will stand.

    Raises:
        ValueError: If a pooled vector would have to become a map or tokens.
    """

    def __init__(self, source: Layout, target: Layout):
        super().__init__()
        if source.kind == 'vector' and target.kind != 'vector':
            raise ValueError(
                f'a pooled vector ({source}) has no positions to fill '
                f'{target.kind} ({target}) with; choose a site before '
                'pooling')
        self.source = source
        self.target = target
        self.project = nn.Identity()
        if source.channels != target.channels:
            if target.kind == 'map':
                self.project = nn.Conv2d(
                    source.channels, target.channels, 1, bias=False)
            else:
                self.project = nn.Linear(
                    source.channels, target.channels, bias=False)

    def forward(self, feature: Tensor, like: Tensor) -> Tensor:
        """Bring over.

        Args:
            feature (Tensor): In the source's layout.
            like (Tensor): A feature in the target's layout, whose size in
                space is taken.

        Returns:
            Tensor: Of the shape of ``like``.
        """
        if self.target.kind == 'vector':
            return self.project(self._pooled(feature))
        if self.target.kind == 'map':
            return self.project(resize(self._map(feature), like.shape[-2:]))
        patches = like.shape[1] - self.target.extra
        grid = _grid(patches, self.target)
        tokens = resize(self._map(feature), grid).flatten(2).transpose(1, 2)
        if self.target.extra:
            front = self._front(feature, self.target.extra)
            tokens = torch.cat([front, tokens], dim=1)
        return self.project(tokens)

    def _pooled(self, feature: Tensor) -> Tensor:
        if self.source.kind == 'vector':
            return feature
        if self.source.kind == 'map':
            return feature.mean(dim=(2, 3))
        return feature[:, 0] if self.source.extra else feature.mean(dim=1)

    def _map(self, feature: Tensor) -> Tensor:
        if self.source.kind == 'map':
            return feature
        patches = feature[:, self.source.extra:].transpose(1, 2)
        grid = _grid(patches.shape[-1], self.source)
        return patches.reshape(*patches.shape[:2], *grid)

    def _front(self, feature: Tensor, count: int) -> Tensor:
        if self.source.kind == 'tokens' and self.source.extra >= count:
            return feature[:, :count]
        return self._pooled(feature).unsqueeze(1).expand(-1, count, -1)

    def describe(self) -> str:
        """What is done, for the pairing table."""
        steps = []
        source, target = self.source, self.target
        if source.kind != target.kind:
            steps.append(f'{source.kind} to {target.kind}')
        if (target.kind != 'vector' and source.grid != target.grid):
            steps.append('resize {}x{} to {}x{}'.format(
                *source.grid, *target.grid))
        if source.channels != target.channels:
            steps.append(f'project {source.channels} to {target.channels}')
        return ', '.join(steps) or 'none'


def resize(feature: Tensor, size: Tuple[int, int]) -> Tensor:
    """A map at another size: means when shrinking, bilinear otherwise."""
    size = tuple(size)
    if tuple(feature.shape[-2:]) == size:
        return feature
    if all(new <= old for new, old in zip(size, feature.shape[-2:])):
        return F.adaptive_avg_pool2d(feature, size)
    return F.interpolate(
        feature, size=size, mode='bilinear', align_corners=False)


def _grid(patches: int, layout: Layout) -> Optional[Tuple[int, int]]:
    # Images of one aspect ratio but another size than in the dry run.
    grid = factorise(patches, layout.grid)
    if grid is None:
        raise ValueError(
            f'{patches} patch tokens do not lie on a grid of the aspect '
            f'ratio seen before ({layout.grid[0]}x{layout.grid[1]}); images '
            'of several aspect ratios need sites with maps.')
    return grid
