# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Dict, List, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhkt.inheritance import Extraction, Site
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
    any scale.

    Where widths differ, a regression :math:`R` to the parent's channels is
    learned beside the child, by the errors :math:`\lVert R q - z\rVert^2 /
    \lVert z\rVert^2` in the parent's space, whose target :math:`z` stands
    still; and :math:`v = R^+ z`, the feature that would be regressed to the
    parent's best. A projection of :math:`z` that is learned by what comes
    behind it, as :class:`HKT` has, leads to targets that the child cannot
    make, such as negative ones after a ReLU.

    Args:
        sites (str | Sequence[dict], optional): Defaults to None,
            ``'stages'``.
        attention (dict, optional): Merged into ``dict(mode='static',
            intensity=1.0)``.
        judged: As in :class:`HKT`.
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
                 judged: str = 'mixture',
                 weights: Optional[Dict[str, float]] = None,
                 schedule: Optional[Sequence[dict]] = None):
        super().__init__(
            sites,
            attention,
            judged=judged,
            weights=weights,
            schedule=schedule)
        # Of each site, one a run of its module.
        self.errors: List[List[Tensor]] = []

    def connect(self, sites: List[Site], child: Extraction,
                parent: Extraction) -> None:
        super().connect(sites, child, parent)
        for site, mixture in zip(self.sites, self.mixtures):
            child_layout, parent_layout = site.child_layout, site.parent_layout
            if (mixture.transfer and self.weights['assimilation'] > 0
                    and child_layout.channels != parent_layout.channels):
                mixture.transfer.project = Regression(
                    child_layout.channels,
                    parent_layout.channels,
                    dim=1 if child_layout.kind == 'map' else -1)

    def mixed(self, i: int, q: Tensor, z: Tensor) -> Tensor:
        transfer = self.mixtures[i].transfer
        project, z = transfer.project, transfer.fitted(z, like=q)
        if self.weights['assimilation'] > 0:
            made = project.regress(q) if isinstance(project, Regression) else q
            self.errors[i].append(relative_error(made, z))
        return self.mixtures[i].attention(q, project(z))

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


class Regression(nn.Module):
    """A linear regression of channels, learned, and its inverse.

    Called it inverts: the feature whose regression comes closest to the one
    given (least squares with a little ridge). No gradient flows through
    that.

    Args:
        source (int): Channels that are regressed.
        target (int): Channels that they are regressed to.
        dim (int): Of the channels.
    """

    RIDGE = 1e-3

    def __init__(self, source: int, target: int, dim: int):
        super().__init__()
        self.dim = dim
        # Initialised as PyTorch does.
        self.weight = nn.Parameter(nn.Linear(source, target).weight.detach())

    def regress(self, feature: Tensor) -> Tensor:
        """To the target's channels."""
        return self._times(feature, self.weight)

    @torch.no_grad()
    def forward(self, feature: Tensor) -> Tensor:
        """To the source's channels."""
        with torch.autocast(feature.device.type, enabled=False):
            weight = self.weight.float()
            gram = weight.T @ weight
            gram.diagonal().add_(self.RIDGE * gram.diagonal().mean())
            inverse = torch.linalg.solve(gram, weight.T)
        return self._times(feature, inverse)

    def _times(self, feature: Tensor, weight: Tensor) -> Tensor:
        return F.linear(feature.movedim(self.dim, -1),
                        weight).movedim(-1, self.dim)


def relative_error(q: Tensor, v: Tensor) -> Tensor:
    """Squared distance to a target over the target's square; no gradient
    reaches the target."""
    q, v = q.float(), v.detach().float()
    return F.mse_loss(q, v) / v.square().mean().clamp_min(1e-12)
