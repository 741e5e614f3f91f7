# Copyright (c) mmhkt authors. All rights reserved.
import torch
from torch import Tensor, nn

from .layout import Layout, as_map, as_vector, grid_of, resize


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
            return self.project(as_vector(feature, self.source))
        fitting = as_map(feature, self.source)
        if self.target.kind == 'map':
            return self.project(resize(fitting, like.shape[-2:]))
        grid = grid_of(like.shape[1] - self.target.extra, self.target)
        tokens = resize(fitting, grid).flatten(2).transpose(1, 2)
        if self.target.extra:
            front = self._front(feature, self.target.extra)
            tokens = torch.cat([front, tokens], dim=1)
        return self.project(tokens)

    def _front(self, feature: Tensor, count: int) -> Tensor:
        if self.source.kind == 'tokens' and self.source.extra >= count:
            return feature[:, :count]
        return as_vector(feature,
                         self.source).unsqueeze(1).expand(-1, count, -1)

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
