# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Dict, List, Optional, Sequence

import torch.nn.functional as F
from torch import Tensor

from mmhkt.registry import METHODS
from .hkt import HKT
from .step import Step


@METHODS.register_module()
class Assimilation(HKT):
    r"""Assimilation: the child learns to make what it inherits.

    A method of this project. As in :class:`HKT` the mixture at each site
    flows on through the child. In addition the child's feature there, made
    from the mixture before it, is drawn to the parent's,

    .. math:: L = L_{c*}(m) + w_a \sum_l
        \frac{\lVert q_l(m_{l-1}) - v_l \rVert^2}{\lVert v_l \rVert^2},
        \quad m_l = q_l + \lambda (v_l - q_l),

    with the parent's aligned feature :math:`v_l`, into which no gradient
    flows. The intensity :math:`\lambda` is weaned, 1 at first and 0 from
    70 % of the training on.

    Hints on the child's own features, as FitNet gives them, ask a late stage
    for what its own input does not allow as long as the early ones are
    untrained. Here every stage is at first given the parent's feature as
    input and the parent's next one as target, so that all stages learn at
    once, each a task of its own: what teacher forcing is to recurrent
    networks. The weaning then joins them to one network, and the mixture's
    loss becomes the child's own; therefore one pass of the child is all that
    a step takes. Related are blockwise supervision (`DNA
    <https://arxiv.org/abs/1911.13053>`_) and the replacement of modules one
    by one (`BERT-of-Theseus <https://arxiv.org/abs/2002.02925>`_).

    Dividing by the norm makes the weight a number that holds for features of
    any scale. Where widths differ, the projection that the mixture needs is
    learned by what comes behind it, and not by the error at its own site,
    which could be made small by projecting to nothing.

    Args:
        sites (str | Sequence[dict], optional): Defaults to None,
            ``'stages'``.
        attention (dict, optional): Merged into ``dict(mode='static',
            intensity=1.0)``.
        scale, judged: As in :class:`HKT`.
        weights (dict, optional): Of ``native`` (0; it costs a second pass),
            ``inherited`` (1), ``parent_head`` (0) and ``assimilation``
            (100).
        schedule (Sequence[dict], optional): Knobs: ``'intensity'`` and
            ``'weights.<term>'``. Defaults to the weaning.
    """

    default_sites = 'stages'
    default_attention = dict(mode='static', intensity=1.0)
    default_weights = dict(
        native=0.0, inherited=1.0, parent_head=0.0, assimilation=100.0)
    default_schedule = (dict(
        knob='intensity', rule='linear', start=1.0, stop=0.0, end=0.7), )

    def __init__(self,
                 sites=None,
                 attention: Optional[dict] = None,
                 scale: str = 'none',
                 judged: str = 'mixture',
                 weights: Optional[Dict[str, float]] = None,
                 schedule: Optional[Sequence[dict]] = None):
        super().__init__(sites, attention, scale, judged, weights, schedule)
        # Of each site, one a run of its module.
        self.errors: List[List[Tensor]] = []

    def mixed(self, i: int, q: Tensor, z: Tensor) -> Tensor:
        mixture = self.mixtures[i]
        v = mixture.transfer(z, like=q)
        self.errors[i].append(relative_error(q, v))
        return mixture.attention(q, v)

    def forward(self, step: Step) -> Dict[str, Tensor]:
        self.errors = [[] for _ in self.sites]
        losses = super().forward(step)
        means = [sum(e) / len(e) for e in self.errors if e]
        if means and self.weight('assimilation') > 0:
            losses.update(self.weighted('assimilation', dict(loss=sum(means))))
        return losses

    def statistics(self) -> Dict[str, Any]:
        statistics = super().statistics()
        for site, errors in zip(self.sites, self.errors):
            if errors:
                statistics[f'error.{site.child}'] = errors[-1].detach()
        return statistics


def relative_error(q: Tensor, v: Tensor) -> Tensor:
    """Squared distance to a target over the target's square; no gradient
    reaches the target."""
    q, v = q.float(), v.detach().float()
    return F.mse_loss(q, v) / v.square().mean().clamp_min(1e-12)
