# Copyright (c) mmhkt authors. All rights reserved.
from typing import Dict, Literal, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmhkt.registry import MODELS
from mmhkt.utils.settings import BelowOne, Count, NotNegative

# mode -> (intensity, select) where the mode leaves them open
DEFAULTS = dict(
    static=(0.7, None),
    gate=(0.6, 'novelty'),
    spatial=(1.0, None),
    learnable=(0.5, 'affinity'))


@MODELS.register_module()
class GeneticAttention(BaseModule):
    r"""Genetic Attention: blends a child's feature with an inherited one.

    From `Hereditary Knowledge Transfer <https://arxiv.org/abs/2508.09743>`_
    (modes ``static``, ``gate`` and ``spatial``) and its successor LePoKet,
    `arXiv 2609.16637 <https://arxiv.org/abs/2609.16637>`_ (``learnable``).

    With the child's feature :math:`q`, the aligned parent's feature
    :math:`v`, :math:`C` channels and intensity :math:`\lambda` the mixture is

    - ``static``: :math:`m = q + \lambda (v - q)`; the published weights
      0.7 and 0.3 are :math:`\lambda = 0.7`;
    - ``gate``: :math:`a = \sigma(\langle q, v\rangle / \sqrt C)`,
      :math:`m = q + \lambda c (v - q)` with :math:`c = 1 - a` (novelty, as
      published) or :math:`c = a` (affinity);
    - ``spatial``: :math:`w` = softmax over positions of
      :math:`\langle q_i, v_i\rangle / \sqrt C`,
      :math:`m_i = q_i + \lambda (s w_i v_i - q_i)`, where :math:`s` is the
      number of positions, so that the inherited part keeps the feature's
      scale (``rescale=False``: :math:`s = 1`, as published);
    - ``learnable``: bias-free projections :math:`Q, K, V` of q and v,
      :math:`a = (\sigma(\langle Q, K\rangle / \sqrt C) +
      \sigma(\mathrm{MLP}(Q \odot K))) / 2` and
      :math:`m = q + \lambda c (V - q)`, :math:`c = a` as published.

    As a neck, called without a parent's feature, it is the identity.

    Args:
        mode (str): ``'static'``, ``'gate'``, ``'spatial'`` or
            ``'learnable'``. Defaults to ``'gate'``.
        intensity (float, optional): :math:`\lambda`. Defaults to None, the
            published value of the mode: 0.7, 0.6, 1.0 and 0.5.
        select (str, optional): What the gate lets pass: ``'novelty'`` (where
            child and parent disagree) or ``'affinity'`` (where they agree);
            of ``gate`` and ``learnable`` only. Defaults to None, as
            published: novelty for ``gate``, affinity for ``learnable``.
        gate_per (str): On maps and tokens, one gate a ``'sample'`` (from the
            features' means over positions) or one a ``'position'``.
            Defaults to ``'sample'``.
        gate_gradient (bool): Whether the gradient of the gate's coefficient
            reaches q and v. The published code lets it; the child then learns
            to open the gate instead of learning the task. Defaults to False.
        rescale (bool): See ``spatial``. Defaults to True.
        drop (float): Probability with which a sample keeps its own feature
            in training, in [0, 1). Defaults to 0.
        random_intensity (bool): Whether, in training, each sample draws its
            :math:`\lambda` uniformly from 0 up to the intensity.
            Defaults to False.
        learn_intensity (bool, optional): Whether :math:`\lambda` is a
            parameter. Defaults to None: in mode ``learnable`` only.
        channels (int, optional): Channels of q and v; needed by
            ``learnable``. Defaults to None.
        init_cfg (dict, optional): Initialization config.

    Raises:
        ValueError: Of an unknown mode, select or gate_per, of a select where
            the mode has no gate, and of a drop outside [0, 1).
    """

    def __init__(self,
                 mode: Literal['static', 'gate', 'spatial',
                               'learnable'] = 'gate',
                 intensity: Optional[NotNegative] = None,
                 select: Optional[Literal['novelty', 'affinity']] = None,
                 gate_per: Literal['sample', 'position'] = 'sample',
                 gate_gradient: bool = False,
                 rescale: bool = True,
                 drop: BelowOne = 0.0,
                 random_intensity: bool = False,
                 learn_intensity: Optional[bool] = None,
                 channels: Optional[Count] = None,
                 init_cfg: Optional[dict] = None):
        super().__init__(init_cfg=init_cfg)
        self.mode = mode
        default_intensity, default_select = DEFAULTS[mode]
        if select is not None and default_select is None:
            raise ValueError(
                f'GeneticAttention mode "{mode}" has no gate, so select='
                f'"{select}" has no meaning; leave it out.')
        if default_select is not None:
            select = select or default_select
        self.select = select
        self.gate_per = gate_per
        self.gate_gradient = gate_gradient
        self.rescale = rescale
        self.drop = drop
        self.random_intensity = random_intensity

        intensity = default_intensity if intensity is None else intensity
        if learn_intensity is None:
            learn_intensity = mode == 'learnable'
        # The configured number: reading it off a tensor would make the host
        # wait for a GPU. None where the intensity is learned.
        self.fixed = None if learn_intensity else float(intensity)
        value = torch.tensor(float(intensity))
        if learn_intensity:
            self.intensity = nn.Parameter(value)
        else:
            # For the logs.
            self.register_buffer('intensity', value, persistent=False)
        # Set by a schedule; multiplies the intensity, learned or not.
        self.factor = 1.0
        # Of the last mixture, for the logs: the means of its coefficient,
        # 'gate', and of the scaled inner product behind it, 'similarity'.
        self.last: Dict[str, Tensor] = {}

        if mode == 'learnable':
            if channels is None:
                raise ValueError(
                    'GeneticAttention mode "learnable" needs `channels`, the '
                    'number of channels of q and v.')
            self.query = nn.Linear(channels, channels, bias=False)
            self.key = nn.Linear(channels, channels, bias=False)
            self.value = nn.Linear(channels, channels, bias=False)
            self.gate_mlp = nn.Sequential(
                nn.Linear(channels, channels), nn.ReLU(),
                nn.Linear(channels, 1))

    @property
    def weaned(self) -> bool:
        """Whether the mixture is the child's feature itself now, so that
        nothing inherited has to be computed."""
        return self.factor == 0 or self.fixed == 0

    def forward(self,
                q: Union[Tensor, Sequence[Tensor]],
                v: Optional[Tensor] = None) -> Union[Tensor, Sequence[Tensor]]:
        """Blend.

        Args:
            q (Tensor): The child's feature: a vector (B, C), a map
                (B, C, H, W) or tokens (B, N, C). Without ``v`` anything, for
                instance the tuple that necks are given.
            v (Tensor, optional): The parent's feature, of the same shape.

        Returns:
            Tensor: The mixture, of q's shape and dtype; q itself without
            ``v`` or when :attr:`weaned`.
        """
        if v is None:
            return q
        if self.weaned:
            # Not 0 times something, which is NaN where that is infinite.
            self.last = {}
            return q
        if q.shape != v.shape:
            raise ValueError(
                'GeneticAttention blends features of one shape, but the '
                f"child's is {tuple(q.shape)} and the parent's is "
                f'{tuple(v.shape)}.')
        inherited, gate = getattr(self, f'_{self.mode}')(q, v)
        strength = self.intensity if self.fixed is None else self.fixed
        strength = strength * self.factor
        if gate is not None:
            self.last['gate'] = gate.detach().mean()
            strength = strength * gate
        if self.training:
            strength = self._by_chance(strength, q)
        if isinstance(strength, Tensor):
            strength = strength.to(q.dtype)
        return torch.lerp(q, inherited.to(q.dtype), strength)

    def _static(self, q: Tensor, v: Tensor):
        return v, None

    def _gate(self, q: Tensor, v: Tensor):
        with _full_precision(q):
            query, key = (self._pool(x) for x in self._gate_source(q, v))
            similarity = self._noted(_similarity(query, key))
            return v, self._selected(torch.sigmoid(similarity))

    def _spatial(self, q: Tensor, v: Tensor):
        if q.dim() == 2:
            raise ValueError(
                'GeneticAttention mode "spatial" weighs positions, but the '
                'feature is a pooled vector; choose a site before pooling.')
        with _full_precision(q):
            source_q, source_v = self._gate_source(q, v)
            similarity = _similarity(
                source_q.to(_wide(q)), source_v.to(_wide(v)))
            weight = similarity.flatten(1).softmax(1).view_as(similarity)
            if self.rescale:
                weight = weight * similarity[0].numel()
        return weight.to(q.dtype) * v, None

    def _learnable(self, q: Tensor, v: Tensor):
        with _full_precision(q):
            source_q, source_v = self._gate_source(q, v)
            query = _to_channels(self.query, self._pool(source_q))
            key = _to_channels(self.key, self._pool(source_v))
            similarity = self._noted(_similarity(query, key))
            gate = _to_channels(self.gate_mlp, query * key)
            affinity = (torch.sigmoid(similarity) + torch.sigmoid(gate)) / 2
        return _to_channels(self.value, v), self._selected(affinity)

    def _by_chance(self, strength: Union[float, Tensor], q: Tensor):
        shape = len(q), *[1] * (q.dim() - 1)
        if self.random_intensity:
            strength = strength * torch.rand(shape, device=q.device)
        if self.drop > 0:
            kept = torch.rand(shape, device=q.device) >= self.drop
            strength = strength * kept
        return strength

    def _gate_source(self, q: Tensor, v: Tensor) -> Tuple[Tensor, Tensor]:
        # The features are cut from the graph rather than the coefficient, so
        # that the learned projections still learn through the gate.
        return (q, v) if self.gate_gradient else (q.detach(), v.detach())

    def _pool(self, x: Tensor) -> Tensor:
        if self.gate_per == 'position' or x.dim() == 2:
            return x.to(_wide(x))
        positions = (2, 3) if x.dim() == 4 else 1
        return x.mean(positions, keepdim=True, dtype=_wide(x))

    def _noted(self, similarity: Tensor) -> Tensor:
        self.last['similarity'] = similarity.detach().mean()
        return similarity

    def _selected(self, affinity: Tensor) -> Tensor:
        return affinity if self.select == 'affinity' else 1 - affinity

    def extra_repr(self) -> str:
        return (f'mode={self.mode}, select={self.select}, '
                f'gate_per={self.gate_per}, '
                f'gate_gradient={self.gate_gradient}, '
                f'intensity={self.intensity.item():g}')


def _full_precision(q: Tensor) -> torch.autocast:
    # Inner products over the channels soon pass what half precision holds:
    # 64 channels of 32 each are 65,536.
    return torch.autocast(q.device.type, enabled=False)


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _channels(x: Tensor) -> int:
    """The dimension of the channels."""
    return 1 if x.dim() == 4 else -1


def _to_channels(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer that takes channels last, at each position."""
    return layer(x.movedim(_channels(x), -1)).movedim(-1, _channels(x))


def _similarity(q: Tensor, k: Tensor) -> Tensor:
    """Scaled inner product over the channels, whose dimension stays."""
    channels = _channels(q)
    return (q * k).sum(channels, keepdim=True) / q.shape[channels]**0.5
