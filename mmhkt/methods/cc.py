# Copyright (c) mmhkt authors. All rights reserved.
import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from mmhkt.inheritance import Site
from mmhkt.registry import METHODS
from mmhkt.utils.settings import Count, Positive
from .distiller import PooledDistiller, normalised
from .step import Step

KERNELS = ('differences', 'gaussian', 'bilinear')

Kernel = Literal['differences', 'gaussian', 'bilinear']


@METHODS.register_module()
class CC(PooledDistiller):
    r"""Correlation congruence: how the images of a batch relate.

    After `Correlation Congruence for Knowledge Distillation
    <https://arxiv.org/abs/1904.01802>`_ (ICCV 2019). Two definitions are in
    use, whose scales differ:

    - ``kernel='differences'``, that of the benchmark RepDistiller, to which
      the default weight of 0.02 belongs: both features are embedded linearly
      (learned), and with the absolute differences :math:`\delta_n` of the
      embeddings the loss is the mean of
      :math:`\delta_n \cdot \delta_{n+1}` over neighbours in the batch. Both
      embeddings at 0 would be its minimum.
    - ``'gaussian'`` and ``'bilinear'``, the paper's: the mean squared
      difference of the matrices :math:`K(f_m, f_n)` of features of norm 1,
      nothing learned; the Gaussian kernel as a Taylor series. Weigh it by
      ``weights=dict(distillation=100.)`` or so.

    Args:
        kernel (str): Defaults to ``'differences'``.
        dim (int): Of the embeddings. Defaults to 128.
        gamma (float): Of the Gaussian kernel. Defaults to 0.4.
        order (int): Of its Taylor series. Defaults to 2.
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'head'``.

    Raises:
        ValueError: If the kernel is unknown.
    """

    default_weights = dict(native=1.0, distillation=0.02)

    def __init__(self,
                 kernel: Kernel = 'differences',
                 dim: Count = 128,
                 gamma: Positive = 0.4,
                 order: Count = 2,
                 **kwargs):
        super().__init__(**kwargs)
        self.kernel = kernel
        self.dim = dim
        self.gamma = gamma
        self.order = order

    def adapter(self, site: Site) -> nn.Module:
        if self.kernel != 'differences':
            return nn.Identity()
        return Embeddings(site, self.dim)

    def adapt(self, q: Tensor, z: Tensor, i: int, step: Step):
        if self.kernel == 'differences':
            return self.adapters[i](q, z)
        return q, z

    def distillation(self, q: Tensor, z: Tensor, *_) -> Tensor:
        """Loss of vectors (B, C), embedded for the differences; else C may
        differ."""
        if self.kernel == 'differences':
            delta = (q - z).abs()
            # Of one image, which has no neighbour, the empty sum: 0.
            neighbours = max(len(delta) - 1, 1)
            return (delta[:-1] * delta[1:]).sum(1).sum() / neighbours
        return F.mse_loss(self._matrix(q), self._matrix(z))

    def _matrix(self, vectors: Tensor) -> Tensor:
        vectors = normalised(vectors)
        products = vectors @ vectors.T
        if self.kernel == 'bilinear':
            return products
        # exp(-gamma |x - y|^2) of vectors of norm 1.
        series = sum((2 * self.gamma * products)**p / math.factorial(p)
                     for p in range(self.order + 1))
        return math.exp(-2 * self.gamma) * series


class Embeddings(nn.Module):
    """Linear embeddings of both features into one space."""

    def __init__(self, site: Site, dim: int):
        super().__init__()
        self.child = nn.Linear(site.child_layout.channels, dim)
        self.parent = nn.Linear(site.parent_layout.channels, dim)

    def forward(self, q: Tensor, z: Tensor):
        """(B, C_child), (B, C_parent) to twice (B, dim)."""
        return self.child(q), self.parent(z)
