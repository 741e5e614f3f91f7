# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Optional, Tuple

import torch
from mmengine.dist import all_reduce_params
from torch import Tensor, nn

from .known_gradient import KnownGradient


class Regression(nn.Module):
    r"""What a child's features make of their parent's, by least squares.

    With the child's feature :math:`q` and the parent's :math:`z`, rows of one
    position each, :math:`R` is the linear regression of :math:`z` from
    :math:`q` over the last batches (averaged as a batch norm averages its
    statistics, but weighted by rows). Nothing is learned by gradients, whose
    step would have to suit widths and scales of both features. Between
    features that are alike :math:`R` is the identity.

    Wanted are the error of the regression, relative to the power of the
    parent's features, and the feature :math:`v` whose regression comes
    closest to the parent's. With :math:`G = R^T R` and :math:`b = R^T z`

    .. math:: \lVert R q - z \rVert^2 = q^T G q - 2 q^T b + z^T z, \qquad
        v = (G + \rho)^{-1} b,

    so that nothing but :math:`b` is computed in the parent's width, and no
    map of that width is kept for the backward pass.

    The regression is that of the batches *before*: fitted to the batch that
    it is measured on, it would hide a part of the error from the gradient.
    Only the first batch, before which there is none, is its own. The power is
    a running mean that includes the present batch, so that a parent's feature
    of zeros divides by nothing tiny. Batches that are not finite are not
    taken up. All that is decided on the device.

    Args:
        source (int): Channels of the child's features.
        target (int): Channels of the parent's.
        dim (int): Of the channels, in both.
        alike (bool, optional): Whether a channel of one may stand for the
            same channel of the other, see
            :meth:`mmhkt.inheritance.Layout.alike`. Defaults to None, where
            there are as many.
    """

    # Of a new batch.
    MOMENTUM = 0.1
    # Of the mean of what stands on the diagonal.
    RIDGE = 1e-3
    # Of the parent's features, below which there is nothing to be made.
    LEAST_POWER = 1e-20
    # Positions of a map, below which images are taken together.
    FEW = 32

    def __init__(self,
                 source: int,
                 target: int,
                 dim: int,
                 alike: Optional[bool] = None):
        super().__init__()
        self.source = source
        self.target = target
        self.dim = dim
        self.alike = source == target if alike is None else alike
        # Sums over rows, and their number, in the order of a batch's.
        if not self.alike:
            self.register_buffer('square', torch.zeros(source, source))
            self.register_buffer('cross', torch.zeros(source, target))
        self.register_buffer('power', torch.zeros(()))
        self.register_buffer('rows', torch.zeros(()))

    def forward(self,
                q: Tensor,
                z: Tensor,
                error: bool = True,
                inverse: bool = True) -> Tuple[Optional[Tensor], ...]:
        """Measure, invert, and then learn from a batch.

        Args:
            q (Tensor): The child's feature.
            z (Tensor): The parent's, of the same size in space.
            error (bool): Whether the error is wanted. Defaults to True.
            inverse (bool): Whether the feature is. Defaults to True.

        Returns:
            tuple[Tensor | None, Tensor | None]: ``v``, of q's shape and
            without a gradient, and the mean squared error over the power, a
            float32 scalar whose gradient reaches ``q``. What is not wanted
            is None.
        """
        with torch.autocast(q.device.type, enabled=False):
            if not self.alike:
                return self._regressed(q, z, error, inverse)
            distance = self._distance(q, z.detach()) if error else None
            return z if inverse else None, distance

    def _distance(self, q: Tensor, z: Tensor) -> Tensor:
        q, z = q.float(), z.float()
        self._learn(self._batch(z, _power(z)))
        difference = q.detach() - z
        squares = _squares(q, difference, _power(difference))
        return self._relative(squares * self.target / q.numel())

    def _regressed(self, q: Tensor, z: Tensor, error: bool,
                   inverse: bool) -> Tuple[Optional[Tensor], ...]:
        last = q.dim() == 4 and q.is_contiguous(
            memory_format=torch.channels_last)
        columns = self._columns(q.float(), last)
        with torch.no_grad():
            own, target = columns.detach(), self._columns(z.float(), last)
            power = _power(target)
            batch = self._batch(target, power, _products(own, own),
                                _products(own, target))
            first = self.rows == 0
            square = torch.where(first, batch[0], self.square)
            cross = torch.where(first, batch[1], self.cross)
            weight = _inverse(square, self.RIDGE) @ cross  # R^T
            self._learn(batch)
            made = _times(weight, target)  # b
            gram = weight @ weight.T  # G
        v = distance = None
        if inverse:
            v = self._restored(
                _times(_inverse(gram, self.RIDGE), made), q, last)
        if error:
            # Half of the gradient: G q - b.
            half = _times(gram, own, made)
            squares = (own * (half - made)).sum() + power
            squares = _squares(columns, half, squares)
            distance = self._relative(squares * self.source / q.numel())
        return v, distance

    def _columns(self, feature: Tensor, last: bool) -> Tensor:
        """A feature as matrices (N, C, positions) whose products are cheap:
        one of all images where channels are last in memory or maps are small,
        else one for each image."""
        if last:
            feature = feature.movedim(1, -1)
        if last or self.dim != 1 or feature.dim() == 2:
            return feature.flatten(0, -2).T[None]
        columns = feature.flatten(2)
        if columns.shape[2] < self.FEW:
            columns = columns.transpose(0, 1).flatten(1)[None]
        return columns

    def _restored(self, columns: Tensor, like: Tensor, last: bool) -> Tensor:
        if last:
            rows = columns[0].T.unflatten(0, like.movedim(1, -1).shape[:-1])
            return rows.movedim(-1, 1).to(like.dtype)
        if self.dim != 1 or like.dim() == 2:
            columns = columns[0].T
        elif like[0, 0].numel() < self.FEW:
            columns = columns[0].unflatten(1, (len(like), -1)).transpose(0, 1)
        return columns.reshape(like.shape).to(like.dtype)

    @torch.no_grad()
    def _batch(self, z: Tensor, power: Tensor, *products) -> List[Tensor]:
        """Its products, power and number of rows, over all processes."""
        rows = power.new_full((), z.numel() // self.target)
        batch = [*products, power.clone(), rows]
        all_reduce_params(batch)
        return batch

    @torch.no_grad()
    def _learn(self, batch: List[Tensor]) -> None:
        if not self.training and self.rows > 0:
            return  # of images that are only looked at
        finite = sum(part.sum() for part in batch).isfinite()
        for mean, part in zip(self.buffers(), batch):
            mean.lerp_(torch.where(finite, part, mean), self.MOMENTUM)

    def _relative(self, squares: Tensor) -> Tensor:
        power = self.power / self.rows.clamp(min=self.LEAST_POWER)
        relative = squares / power.clamp(min=self.LEAST_POWER)
        return torch.where(power > self.LEAST_POWER, relative, squares * 0)


def _squares(feature: Tensor, half: Tensor, value: Tensor) -> Tensor:
    """A sum of squares half of whose gradient is known beforehand; twice its
    half, so that the gradient need not be doubled."""
    return 2 * KnownGradient.apply(value / 2, half, feature)


def _power(feature: Tensor) -> Tensor:
    """The sum of squares. By norms of images or positions: as one norm,
    that of millions of values would lose digits."""
    parts = feature.flatten(1) if feature.is_contiguous() else feature.mT
    return torch.linalg.vector_norm(parts, dim=-1).square().sum()


def _products(one: Tensor, other: Tensor) -> Tensor:
    """Of the channels of two (N, C, positions), summed over the rest."""
    zero = one.new_zeros(one.shape[1], other.shape[1])
    return torch.addbmm(zero, one, other.mT, beta=0)


def _times(weight: Tensor,
           columns: Tensor,
           less: Optional[Tensor] = None) -> Tensor:
    """Their product, laid out in memory as the columns are, less another
    such."""
    weight = weight.expand(len(columns), -1, -1)
    rows = not columns.is_contiguous()
    pair = (columns.mT, weight.mT) if rows else (weight, columns)
    if less is None:
        made = torch.bmm(*pair)
    else:
        made = torch.baddbmm(less.mT if rows else less, *pair, beta=-1)
    return made.mT if rows else made


def _inverse(square: Tensor, ridge: float) -> Tensor:
    """``(square + ridge)^-1`` of a symmetric, positive square."""
    level = (ridge * square.diagonal().mean()).clamp_min(1e-12)
    eye = torch.eye(len(square), dtype=square.dtype, device=square.device)
    # Without a check, for which the host would have to wait.
    factor, _ = torch.linalg.cholesky_ex(square + level * eye)
    return torch.cholesky_inverse(factor)
