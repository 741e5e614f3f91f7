# Copyright (c) mmhkt authors. All rights reserved.
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn


class Regression(nn.Module):
    """A linear regression of channels, by least squares, and its inverse.

    The normal equations are averaged over the batches, as a batch norm
    averages its statistics, and solved anew with each: nothing is learned by
    gradients, whose step would have to suit the widths and scales of both
    features.

    Called it inverts: the feature whose regression comes closest to the one
    given (least squares too). No gradient flows through that.

    Args:
        source (int): Channels that are regressed.
        target (int): Channels that they are regressed to.
        dim (int): Of the channels.
    """

    # Of a new batch.
    MOMENTUM = 0.1
    # Of the mean of what stands on the diagonal.
    RIDGE = 1e-3

    def __init__(self, source: int, target: int, dim: int):
        super().__init__()
        self.dim = dim
        self.register_buffer('square', torch.zeros(source, source))
        self.register_buffer('cross', torch.zeros(source, target))
        # Until there is a batch.
        self.register_buffer('weight',
                             nn.Linear(source, target).weight.detach())

    @torch.no_grad()
    def fit(self, feature: Tensor, target: Tensor) -> None:
        """See a batch of both."""
        with torch.autocast(feature.device.type, enabled=False):
            q, z = (
                f.float().movedim(self.dim, -1).flatten(0, -2)
                for f in (feature, target))
            for mean, batch in ((self.square, q.T @ q), (self.cross, q.T @ z)):
                batch /= len(q)
                all_reduce(batch, 'mean')
                # The weight does not change with the scale of both.
                mean.lerp_(batch, self.MOMENTUM)
            self.weight.copy_(_solved(self.square, self.cross, self.RIDGE).T)

    def regress(self, feature: Tensor) -> Tensor:
        """To the target's channels."""
        return self._times(feature, self.weight)

    @torch.no_grad()
    def forward(self, feature: Tensor) -> Tensor:
        """To the source's channels."""
        with torch.autocast(feature.device.type, enabled=False):
            weight = self.weight.float()
            inverse = _solved(weight.T @ weight, weight.T, self.RIDGE)
        return self._times(feature, inverse)

    def _times(self, feature: Tensor, weight: Tensor) -> Tensor:
        return F.linear(
            feature.movedim(self.dim, -1),
            weight.to(feature.dtype)).movedim(-1, self.dim)


def _solved(square: Tensor, other: Tensor, ridge: float) -> Tensor:
    """``(square + ridge)^-1 other``."""
    level = (ridge * square.diagonal().mean()).clamp_min(1e-12)
    return torch.linalg.solve(
        square + level *
        torch.eye(len(square), dtype=square.dtype, device=square.device),
        other)
