# Copyright (c) mmhkt authors. All rights reserved.
from functools import partial

import torch
from torch import Tensor, nn

from mmhkt.utils import one_of
from .layout import Layout, as_map, as_vector, grid_of, resize

# What is scaled by one factor.
SCALES = dict(none='', channel='channel', norm='sample')


class Transfer(nn.Module):
    """T: brings a feature of one network into the other's layout.

    First in space (resized, tokens folded into maps and back, pooled), then
    in width (a bias-free linear projection, 1x1 on maps), and, if wanted, in
    scale. Without a difference it is the identity and has no parameter.

    Class tokens go to class tokens; where the source has none, the mean over
    its positions does. A class token serves as the pooled vector of its
    network.

    Args:
        source (Layout): Of the feature that is brought over.
        target (Layout): Of the feature beside which it will stand.
        scale (str): How it is brought to the scale of that feature:
            ``'none'``, ``'channel'`` (mean and standard deviation of each
            channel over the batch) or ``'norm'`` (of each sample).
            Defaults to ``'none'``.
        project (bool): Whether a projection is learned where the widths
            differ; without it a :class:`mmhkt.inheritance.Regression` is
            inverted, where the layouts are not alike. Defaults to True.

    Raises:
        ValueError: If a pooled vector would have to become a map or tokens,
            or the scale is unknown.
    """

    def __init__(self,
                 source: Layout,
                 target: Layout,
                 scale: str = 'none',
                 project: bool = True):
        super().__init__()
        self.scale = one_of('Transfer scale', scale, SCALES)
        if source.kind == 'vector' and target.kind != 'vector':
            raise ValueError(
                f'a pooled vector ({source}) has no positions to fill '
                f'{target.kind} ({target}) with; choose a site before '
                'pooling')
        self.source = source
        self.target = target
        self.project = nn.Identity()
        self.inverts = not project and not source.alike(target)
        if project and source.channels != target.channels:
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
                space and, if wanted, scale are taken.

        Returns:
            Tensor: Of the shape of ``like``.
        """
        return self.scaled(self.project(self.fitted(feature, like)), like)

    def fitted(self, feature: Tensor, like: Tensor) -> Tensor:
        """Bring over in space only, with the source's width.

        Args:
            feature (Tensor): In the source's layout.
            like (Tensor): In the target's, whose size in space is taken.
        """
        if self.target.kind == 'vector':
            return as_vector(feature, self.source)
        fitting = as_map(feature, self.source)
        if self.target.kind == 'map':
            return resize(fitting, like.shape[-2:])
        grid = grid_of(like.shape[1] - self.target.extra, self.target)
        tokens = resize(fitting, grid).flatten(2).transpose(1, 2)
        if self.target.extra:
            front = self._front(feature, self.target.extra)
            tokens = torch.cat([front, tokens], dim=1)
        return tokens

    def scaled(self, feature: Tensor, like: Tensor) -> Tensor:
        """Bring to the scale of a feature of the same shape."""
        if self.scale == 'channel':
            return per_channel(feature, like)
        if self.scale == 'norm':
            return per_sample(feature, like)
        return feature

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
        widths = f'{source.channels} to {target.channels}'
        if self.inverts:
            steps.append(f'invert regression {widths}')
        elif source.channels != target.channels:
            steps.append(f'project {widths}')
        if self.scale != 'none':
            steps.append(f'scale of each {SCALES[self.scale]}')
        return ', '.join(steps) or 'none'


def per_channel(feature: Tensor, like: Tensor) -> Tensor:
    """The feature with the mean and deviation that each channel of another
    has over the batch and its positions; no gradient reaches the other."""
    is_map = feature.dim() == 4
    moments = partial(
        torch.std_mean,
        dim=(0, 2, 3) if is_map else tuple(range(feature.dim() - 1)),
        correction=0,
        keepdim=True)
    std, mean = moments(feature.float())
    goal_std, goal_mean = moments(like.detach().float())
    scaled = (feature.float() - mean) / (std + 1e-5) * goal_std + goal_mean
    return scaled.to(like.dtype)


def per_sample(feature: Tensor, like: Tensor) -> Tensor:
    """The feature with the norm that another has in each sample; no gradient
    reaches the other."""
    norm = partial(
        torch.linalg.vector_norm,
        dim=tuple(range(1, feature.dim())),
        keepdim=True)
    scaled = feature.float() * (
        norm(like.detach().float()) / (norm(feature.float()) + 1e-5))
    return scaled.to(like.dtype)
