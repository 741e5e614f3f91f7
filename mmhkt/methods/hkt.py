# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Dict, List, Literal, Optional, Sequence

import torch
from torch import Tensor, nn

from mmhkt.inheritance import (PRESETS, Dissection, Extraction, Mixture, Site,
                               find_sites)
from mmhkt.registry import METHODS
from mmhkt.utils.settings import NotNegative
from .base import Method
from .common_settings import Attention, Schedules, Sees, Sites
from .inheriting import Inheriting
from .kd import KD
from .step import Step


@METHODS.register_module()
class HKT(Method):
    r"""Hereditary Knowledge Transfer.

    From `Hereditary Knowledge Transfer <https://arxiv.org/abs/2508.09743>`_:
    the parent's feature enters the child's forward pass while it trains. At
    each site :math:`l` the child's feature :math:`q_l` is replaced by its
    mixture :math:`m_l` with the parent's aligned feature :math:`v_l`, which
    flows on through the child to the next, and

    .. math:: L = w_n L_c(q) + w_i L_{c*}(m) + w_p L_{p*}(m)
        + w_h \sum_l \frac{\lVert R_l q_l(m_{l-1}) - z_l \rVert^2}
        {\overline{\lVert z_l \rVert^2}} + w_l T^2 KL(p \,\|\, c),

    with the child's own loss (``native``), its loss on the mixture
    (``inherited``), that of the parent's frozen head on the mixture at the
    last site (``parent_head``), the ``hint`` that draws the child's
    features to the parent's :math:`z_l`, into which no gradient flows, and
    the divergence of the child's class probabilities from its parent's
    (``logits``), as :class:`mmhkt.methods.KD` has it. The hint is divided by
    the mean power of the parent's features over the last batches, so that its
    weight holds for features of any scale. A module that runs several times,
    in a loop, is mixed each time with what the parent's returned that time.

    **The default is not the paper's**, which has no hints, a gate at the
    head and the sum of the first three terms (``as_published=True``), and
    whose child leans on its parent. Near to it and without that harm is
    :class:`mmhkt.methods.GatedHKT`. By default there are two times. At first,
    for 30 % of the training or 1,500 iterations if these are more, the child
    is **raised**:

    - the mixture is that of all stages, :math:`m = q + \lambda (v - q)`,
      with an intensity :math:`\lambda` that falls from 1 to 0, which it
      reaches by 70 % of the training at the latest;
    - the hints, whose weight falls from 100 to 0 in that time, ask each stage
      to make what it inherits;
    - where the child's maps meet its parent's tokens, as a convolutional child
      those of a vision transformer, it makes them less well: nothing is mixed,
      and hints on its own features end after 10 % of the training, however
      short it is. The reverse, a transformer that a convolutional network
      brings up, needs no exception;
    - the gradients are bounded relative to the weights, so that the learning
      rate that suits the child alone is survived, whatever it is.

    Every stage is at first given the parent's feature as input and the
    parent's next one as target, so that all stages learn at once, each a task
    of its own: what teacher forcing is to recurrent networks. Hints on the
    child's own features, as FitNet gives them, ask a late stage for what its
    input does not allow as long as the early ones are untrained. The weaning
    then joins the stages to one network. Related are blockwise supervision
    (`DNA <https://arxiv.org/abs/1911.13053>`_) and the replacement of modules
    one by one (`BERT-of-Theseus <https://arxiv.org/abs/2002.02925>`_).

    From then on it is on its own and only **taught**: a child that is held to
    features which it cannot make ends below one without a parent, but the
    parent's ``logits`` help to the end. They are compared all along, the loss
    on the mixture turns into the child's own, and nothing of the parent's
    bounds the child any more. A step always takes one pass of the child.

    Where there are hints, :math:`R` is the regression to the parent's
    channels over the last batches, and :math:`v` the feature that it brings
    closest to the parent's (:class:`mmhkt.inheritance.Regression`); both are
    the identity where widths agree, but not between maps and tokens. Without
    hints :math:`v` is, where widths differ, a projection that is learned by
    what comes behind it, which as a target would ask for what the child
    cannot make, such as negative values after a ReLU.

    Each loss term is a method of the class, of the same name; the default,
    the paper's HKT and :class:`mmhkt.methods.GatedHKT` are three choices of
    their weights and of the attention.

    Args:
        sites (str | Sequence[dict], optional): Defaults to None,
            ``'stages'``.
        attention (dict, optional): Config of the Genetic Attention, merged
            into the default, ``dict(mode='static', intensity=1.0)``. Where
            a child's maps meet a parent's tokens nothing is mixed unless it,
            ``native`` or ``inherited`` is typed.
        scale (str): Whether features are brought to each other's scale to be
            mixed, ``'none'``, ``'channel'`` or ``'norm'``, see
            :class:`mmhkt.inheritance.Transfer`. Defaults to ``'none'``.
        judged (str): What the parent's head judges: the ``'mixture'``, or the
            child's ``'own'`` feature. Defaults to ``'mixture'``.
        weights (dict, optional): Of ``native`` (0; it costs a second pass),
            ``inherited`` (1), ``parent_head`` (0), ``hint`` (100) and
            ``logits`` (9). Without ``inherited`` the hints are on the child's
            own features: the default where a child's maps meet a parent's
            tokens. Where logits cannot be compared, because the
            parent's classes are others or there are none, the default leaves
            them out, and the pairing table says so.
        schedule (Sequence[dict], optional): Knobs: ``'intensity'`` and
            ``'weights.<term>'``. Defaults to the weaning of both intensity
            and hints, early where a child's maps meet a parent's tokens;
            what is typed holds there too.
        bound (float, optional): As long as there is a mixture or a hint, how
            large the gradient of the child may be relative to its weights,
            both as one norm; less at learning rates above 0.1, see
            :func:`mmhkt.inheritance.bound_gradients`. 0 bounds nothing, as
            the paper does. Defaults to None, 0.2.
        as_published (bool): Whether what the settings above leave open is
            the paper's, :attr:`published`. Defaults to False.
        sees (str, optional): Which features are compared and judged where
            nothing is mixed, see :class:`mmhkt.methods.Method`.
    """

    default_sites = 'stages'
    default_attention: Dict[str, Any] = dict(mode='static', intensity=1.0)
    default_weights = dict(
        native=0.0, inherited=1.0, parent_head=0.0, hint=100.0, logits=9.0)
    site_knobs = ('intensity', 'weights.hint')
    default_schedule = tuple(
        dict(knob=knob, stop=0.0, end=0.3, least_iters=1500, latest=latest)
        for knob, latest in (('intensity', 0.7), ('weights.hint', 1.0)))
    # In their place where a child's maps meet a parent's tokens.
    early_schedule = tuple(
        dict(knob=knob, stop=0.0, end=0.1) for knob in site_knobs)
    default_bound = 0.2
    published: Dict[str, Any] = dict(
        sites='head',
        attention=dict(mode='gate', gate_gradient=True),
        weights=dict(
            native=1.0, inherited=1.0, parent_head=1.0, hint=0.0, logits=0.0),
        schedule=(),
        bound=0.0)

    def __init__(self,
                 sites: Sites = None,
                 attention: Attention = None,
                 scale: Literal['none', 'channel', 'norm'] = 'none',
                 judged: Literal['mixture', 'own'] = 'mixture',
                 weights: Optional[Dict[str, NotNegative]] = None,
                 schedule: Schedules = None,
                 bound: Optional[NotNegative] = None,
                 as_published: bool = False,
                 sees: Sees = None):
        default_attention = self.default_attention
        # What is typed holds whatever the sites are.
        self.typed = frozenset(weights or ())
        self.mixture_open = not attention and not self.typed & {
            'native', 'inherited'
        }
        # Its loss `inherited` is then the child's own.
        self.unmixed = False
        if as_published:
            sites = self.published['sites'] if sites is None else sites
            default_attention = self.published['attention']
            weights = {**self.published['weights'], **(weights or {})}
            if schedule is None:
                schedule = self.published['schedule']
            bound = self.published['bound'] if bound is None else bound
        super().__init__(
            sites=sites, weights=weights, schedule=schedule, sees=sees)
        self.scale = scale
        self.judged = judged
        # Whether it may be changed for one that suits the sites.
        self.schedule_open = (
            schedule is None and self.default_schedule is HKT.default_schedule)
        self.attention = {
            'type': 'mmhkt.GeneticAttention',
            **default_attention,
            **(attention or {})
        }
        self.bound = self.default_bound if bound is None else bound
        if not self.weights['inherited'] and 'native' not in self.typed:
            # The labels are always learned from.
            self.weights['native'] = self.weights['native'] or 1.0
        self.left_out = ''
        self.mixtures = nn.ModuleList()
        self.teacher = KD(temperature=2.0, standardise=True, sees=sees)
        # Of each site: the hint's share of its weight, by the schedule, and
        # the last step's hint, for the logs.
        self.hint_factors: List[float] = []
        self.errors: Dict[int, Tensor] = {}

    def connect(self, sites: List[Site], child: Extraction,
                parent: Extraction) -> None:
        _check_child_sites(sites, child.dissection)
        met = {(s.child_layout.kind, s.parent_layout.kind) for s in sites}
        if self.schedule_open and ('map', 'tokens') in met:
            self.set_schedule(self.early_schedule)
            self.unmixed = self.mixture_open
        wanted = {term: weight > 0 for term, weight in self.weights.items()}
        if not any(wanted[term] for term in wanted if term != 'native'):
            raise ValueError(
                f'{type(self).__name__} with neither "inherited" nor '
                '"parent_head" nor "hint" nor "logits" inherits nothing; give '
                "one of them a weight, or use method=dict(type='mmhkt.Alone')."
            )
        if wanted['logits']:
            self._compare_logits(child, parent)
        # A later site's mixture replaces whatever an earlier one led to.
        last = list(dict.fromkeys(site.parent for site in sites))
        if len(last) > 1 and parent.logits_site is not None:
            last = parent.dissection.decisive(
                last, at=parent.logits_site) or last[-1:]
        if not self.mixing and not wanted['hint']:
            # Nothing flows on, so that only what is judged has to be mixed.
            sites = [site for site in sites if site.parent in last]
        super().connect(sites, child, parent)
        self.calls = [
            _calls(site, child.dissection, parent.dissection) for site in sites
        ]
        self.hint_factors = [1.0] * len(sites)
        self.judged_sites: List[int] = []
        if wanted['parent_head']:
            _check_classes(child, parent)
            parent.want(last, rerun=True)
            child.want([child.logits_site], rerun=True)
            # Of two that share a parent's feature the later one.
            self.judged_sites = sorted({
                site.parent: i
                for i, site in enumerate(sites) if site.parent in last
            }.values())
        child.want([site.child for site in sites], rerun=True)
        child.copy_overwritten(site.child for site in sites)
        self.mixtures.extend(
            Mixture(
                site,
                self.attention,
                to_child=self.mixing or (
                    i in self.judged_sites and self.judged == 'mixture'),
                to_parent=i in self.judged_sites,
                scale=self.scale,
                hinted=wanted['hint']) for i, site in enumerate(sites))
        first = child.dissection.first(site.child for site in sites)
        self.reruns = 'head' if (
            child.head_site is not None and first == child.dissection.split(
                child.head_site)[0]) else f'child from {first}'

    def _compare_logits(self, child: Extraction, parent: Extraction) -> None:
        try:
            self.teacher.connect(
                find_sites('logits', child, parent), child, parent)
        except ValueError as error:
            if 'logits' in self.typed:
                raise
            self.weights['logits'] = 0.0
            self.left_out = str(error)

    def notes(self) -> List[str]:
        notes = []
        early = self.schedule == list(self.early_schedule)
        if self.schedule_open and early and (self.mixing
                                             or self.weights['hint'] > 0):
            nothing = '' if self.mixing else 'mixes nothing and '
            notes.append(f'{self.name} {nothing}weans within 10 % of any '
                         "training, because the child's maps meet the "
                         "parent's tokens")
        if self.left_out:
            notes.append(f'{self.name} leaves the logits out: {self.left_out}')
        return notes

    def describe(self) -> List[Dict[str, Any]]:
        adapters = [m.transfer or m.back for m in self.mixtures]
        return [
            dict(
                # Of a method of logits alone there is none.
                adapter=adapter.describe() if adapter else 'none',
                parameters=sum(p.numel() for p in mixture.parameters()),
                reruns=self.reruns if self.mixing else 'nothing')
            for mixture, adapter in zip(self.mixtures, adapters)
        ]

    def knobs(self) -> List[str]:
        return ['intensity', *super().knobs()]

    def turn(self,
             knob: str,
             factor: float,
             sites: Optional[Sequence[int]] = None) -> None:
        if knob not in self.site_knobs:
            return super().turn(knob, factor)
        chosen = range(len(self.sites)) if sites is None else sites
        if knob == 'weights.hint':
            for i in chosen:
                self.hint_factors[i] = factor
            self.factors['hint'] = max(self.hint_factors, default=1.0)
            return
        for i in chosen:
            if self.mixtures[i].attention:
                self.mixtures[i].attention.factor = factor

    def work(self) -> tuple:
        return (*super().work(), *map(self.hints, range(len(self.sites))))

    def hints(self, i: int) -> bool:
        """Whether the child's feature at site i is hinted now."""
        return self.weights['hint'] * self.hint_factors[i] > 0

    def weaned(self) -> bool:
        """Whether every mixture is, for now, the child's own feature."""
        return all(mixture.weaned for mixture in self.mixtures)

    @property
    def mixing(self) -> bool:
        """Whether mixtures flow through the child at any time."""
        return self.weights['inherited'] > 0 and not self.unmixed

    def mixes(self) -> bool:
        return (self.mixing and self.weight('inherited') > 0
                and not self.weaned())

    def needs_own(self) -> bool:
        # Weaned, its loss on the mixture is that of the own pass.
        return super().needs_own() or (self.weight('inherited') > 0
                                       and not self.mixes())

    def active(self) -> bool:
        return self.mixes() or any(
            self.weight(term) > 0
            for term in ('hint', 'parent_head', 'logits'))

    def bounds(self) -> Optional[float]:
        if self.mixes() or self.weight('hint') > 0:
            return self.bound or None
        return None

    def statistics(self) -> Dict[str, Tensor]:
        statistics = {}
        for site, mixture in zip(self.sites, self.mixtures):
            attention = mixture.attention
            if attention is None:
                continue
            statistics[f'intensity.{site.child}'] = (
                attention.intensity.detach() * attention.factor)
            # Of a mixture that is not made it is that of an earlier step.
            last = {} if mixture.weaned else attention.last
            for name, value in last.items():
                statistics[f'{name}.{site.child}'] = value
        for i, error in self.errors.items():
            statistics[f'error.{self.sites[i].child}'] = error
        return statistics

    def forward(self, step: Step) -> Dict[str, Tensor]:
        inheritance = Inheriting(self, step)
        self.errors = {}  # of a step without hints there are none
        losses = {}
        for term in ('inherited', 'hint', 'parent_head', 'logits'):
            if self.weight(term) > 0:
                found = getattr(self, term)(step, inheritance)
                losses.update(self.weighted(term, found))
        return losses

    def inherited(self, step: Step, at: Inheriting) -> Dict[str, Tensor]:
        """The child's losses on its mixtures, which flow on to its end."""
        mixers = at.mixers() if self.mixes() else {}
        return step.inherited(f'{self.name}.inherited', mixers)

    def hint(self, step: Step, at: Inheriting) -> Dict[str, Tensor]:
        """How far the child is from its parent's features, over all sites."""
        hints = {
            i: torch.stack([at.hint(i, call) for call in range(calls)]).mean()
            for i, calls in enumerate(self.calls) if self.hints(i)
        }
        self.errors = {i: hint.detach() for i, hint in hints.items()}
        # Weighted by the largest of the factors, as a whole.
        return dict(
            loss=sum(self.hint_factors[i] / self.factors['hint'] * hint
                     for i, hint in hints.items()))

    def parent_head(self, step: Step, at: Inheriting) -> Dict[str, Tensor]:
        """The child's losses of what the parent's head makes of mixtures."""
        given = {}
        for i in self.judged_sites:
            site = self.sites[i].parent
            feature = at.own if self.judged == 'own' else at.mixture
            given[site] = [
                self.mixtures[i].in_parent(
                    feature(i, call), step.parent_feature(site, call))
                for call in range(self.calls[i])
            ]
        return step.judged(f'{self.name}.parent_head', given)

    def logits(self, step: Step, at: Inheriting) -> Dict[str, Tensor]:
        """How far the child's class probabilities are from its parent's."""
        found = self.teacher.compare(step, ['distillation'])
        return dict(loss=found['distillation'])


def _check_child_sites(sites: List[Site], child: Dissection) -> None:
    names = [child.canonical(site.child) for site in sites]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f'The child\'s "{twice[0]}" stands in '
                         f'{names.count(twice[0])} sites; a feature can be '
                         'mixed with one parent feature only.')


def _calls(site: Site, child: Dissection, parent: Dissection) -> int:
    calls = child.runs(site.child), parent.runs(site.parent)
    if calls[0] != calls[1]:
        raise ValueError(
            f'The child\'s "{site.child}" runs {calls[0]} times in a forward '
            f'pass, the parent\'s "{site.parent}" {calls[1]} times, so that '
            'they cannot be matched run by run; let both networks make as '
            'many updates.')
    return calls[0]


def _check_classes(child: Extraction, parent: Extraction) -> None:
    PRESETS['logits'](child, parent)  # that there are any
    if parent.conflict:
        raise ValueError(parent.conflict)
    classes = [
        network.dissection.shape(network.logits_site)[1]
        for network in (child, parent)
    ]
    if classes[0] != classes[1]:
        raise ValueError(
            f'The parent has {classes[1]} classes, the child {classes[0]}, '
            "so that the parent's head cannot judge the child's mixture. Take "
            f'a parent of {classes[0]} classes, or leave this term out by '
            "method.weights=dict(parent_head=0).")
