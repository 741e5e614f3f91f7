# Copyright (c) mmhkt authors. All rights reserved.
from functools import partial
from typing import Any, Dict, List, Optional, Sequence

from torch import Tensor, nn

from mmhkt.inheritance import Dissection, Extraction, Mixture, Site
from mmhkt.inheritance.transfer import SCALES
from mmhkt.registry import METHODS
from mmhkt.utils import one_of
from .base import Method
from .step import Step


@METHODS.register_module()
class HKT(Method):
    r"""Hereditary Knowledge Transfer.

    From `Hereditary Knowledge Transfer <https://arxiv.org/abs/2508.09743>`_:
    the parent's feature enters the child's forward pass while it trains, and
    the task's own loss is the only supervision,

    .. math:: L = w_n L_c(q) + w_i L_{c*}(m) + w_p L_{p*}(m),

    with the child's feature :math:`q` and its mixture :math:`m` with the
    parent's, judged by the child's head (``native``, ``inherited``) and by
    the parent's frozen head (``parent_head``). Where the mixture has to be
    brought back into the parent's width for that, a projection is learned.

    With several sites the mixture of each flows on through the child to the
    next; the parent's head judges the mixture at the last one, or, where
    branches run beside each other, at the last one of each. A module that
    runs several times, in a loop, is mixed each time with what the parent's
    returned that time.

    The default differs from the paper in two points. No gradient flows
    through the gate's coefficient; and the weights add up to 1, so that steps
    are as large as those of the child alone and a learning rate that suits
    it still does: the paper's sum of three losses acts, with SGD, like up to
    three times the rate.

    Args:
        sites (str | Sequence[dict], optional): Defaults to None, ``'head'``:
            the feature that the heads are given, as in the paper's
            classification experiment.
        attention (dict, optional): Config of the Genetic Attention, merged
            into the default, ``dict(mode='gate')``.
        scale (str): Whether features are brought to each other's scale,
            ``'none'``, ``'channel'`` or ``'norm'``, see
            :class:`mmhkt.inheritance.Transfer`. Defaults to ``'none'``.
        judged (str): What the parent's head judges: the ``'mixture'``, or the
            child's ``'own'`` feature. Defaults to ``'mixture'``.
        weights (dict, optional): Of ``native``, ``inherited`` and
            ``parent_head``. Defaults to 1/3 each.
        schedule (Sequence[dict], optional): Knobs: ``'intensity'`` and
            ``'weights.<term>'``.
        as_published (bool): Whether what the settings above leave open is
            the paper's, :attr:`published`. Defaults to False.
    """

    default_weights = dict(native=1 / 3, inherited=1 / 3, parent_head=1 / 3)
    default_attention: Dict = dict(mode='gate')
    published: Dict[str, Any] = dict(
        sites='head',
        attention=dict(mode='gate', gate_gradient=True),
        weights=dict(native=1.0, inherited=1.0, parent_head=1.0),
        schedule=())

    def __init__(self,
                 sites=None,
                 attention: Optional[dict] = None,
                 scale: str = 'none',
                 judged: str = 'mixture',
                 weights: Optional[Dict[str, float]] = None,
                 schedule: Optional[Sequence[dict]] = None,
                 as_published: bool = False):
        if as_published:
            sites = self.published['sites'] if sites is None else sites
            attention = {**self.published['attention'], **(attention or {})}
            weights = {**self.published['weights'], **(weights or {})}
            if schedule is None:
                schedule = self.published['schedule']
        super().__init__(sites=sites, weights=weights, schedule=schedule)
        self.scale = one_of('HKT scale', scale, SCALES)
        self.judged = one_of('HKT judged', judged, ('mixture', 'own'))
        self.attention = {
            'type': 'mmhkt.GeneticAttention',
            **self.default_attention,
            **(attention or {})
        }
        self.mixtures = nn.ModuleList()

    def connect(self, sites: List[Site], child: Extraction,
                parent: Extraction) -> None:
        _check_child_sites(sites, child.dissection)
        parent_judges = self.weights['parent_head'] > 0
        if not parent_judges and self.weights['inherited'] == 0:
            raise ValueError(
                f'{type(self).__name__} with neither "inherited" nor '
                '"parent_head" inherits nothing; give one of them a weight, '
                "or use method=dict(type='mmhkt.Alone').")
        # A later site's mixture replaces whatever an earlier one led to.
        last = list(dict.fromkeys(site.parent for site in sites))
        if len(last) > 1:
            last = parent.dissection.decisive(
                last, at=parent.logits_site) or last[-1:]
        inherits = self.weights['inherited'] > 0
        if not inherits:
            # Nothing flows on, so that only what is judged has to be mixed.
            sites = [site for site in sites if site.parent in last]
        super().connect(sites, child, parent)
        self.calls = [
            _calls(site, child.dissection, parent.dissection) for site in sites
        ]
        self.judged_sites: List[int] = []
        if parent_judges:
            _check_classes(child, parent)
            parent.want(last, rerun=True)
            # Of two that share a parent's feature the later one.
            self.judged_sites = sorted({
                site.parent: i
                for i, site in enumerate(sites) if site.parent in last
            }.values())
        child.want([site.child for site in sites], rerun=True)
        self.mixtures.extend(
            Mixture(
                site,
                self.attention,
                to_child=inherits or self.judged == 'mixture',
                to_parent=i in self.judged_sites,
                scale=self.scale) for i, site in enumerate(sites))
        first = child.dissection.first(site.child for site in sites)
        self.reruns = 'head' if (
            child.head_site is not None and first == child.dissection.split(
                child.head_site)[0]) else f'child from {first}'

    def describe(self) -> List[Dict[str, Any]]:
        return [
            dict(
                adapter=(mixture.transfer or mixture.back).describe(),
                parameters=sum(p.numel() for p in mixture.parameters()),
                reruns=self.reruns) for mixture in self.mixtures
        ]

    def knobs(self) -> List[str]:
        return ['intensity', *super().knobs()]

    def turn(self,
             knob: str,
             factor: float,
             sites: Optional[Sequence[int]] = None) -> None:
        if knob != 'intensity':
            return super().turn(knob, factor)
        for i, mixture in enumerate(self.mixtures):
            if mixture.attention and (sites is None or i in sites):
                mixture.attention.factor = factor

    def statistics(self) -> Dict[str, Tensor]:
        statistics = {}
        for site, mixture in zip(self.sites, self.mixtures):
            attention = mixture.attention
            if attention is None:
                continue
            statistics[f'intensity.{site.child}'] = (
                attention.intensity.detach() * attention.factor)
            for name, value in attention.last.items():
                statistics[f'{name}.{site.child}'] = value
        return statistics

    def mixed(self, i: int, q: Tensor, z: Tensor) -> Tensor:
        """What stands at a site in place of the child's feature.

        Args:
            i (int): The number of the site.
            q (Tensor): The child's feature there, which an earlier site's
                mixture may have led to.
            z (Tensor): The parent's.
        """
        return self.mixtures[i](q, z)

    def forward(self, step: Step) -> Dict[str, Tensor]:
        # Of each site, one after each run of its module.
        mixed: List[List[Tensor]] = [[] for _ in self.sites]

        def mix(i: int, q: Tensor) -> Tensor:
            z = step.parent_feature(self.sites[i].parent, len(mixed[i]))
            mixed[i].append(self.mixed(i, q, z))
            return mixed[i][-1]

        def judged(i: int, call: int) -> Tensor:
            if self.judged == 'mixture' and call < len(mixed[i]):
                return mixed[i][call]
            q = step.child_feature(self.sites[i].child, call)
            return q if self.judged == 'own' else mix(i, q)

        losses = {}
        if self.weight('inherited') > 0:
            mixers = {
                site.child: partial(mix, i)
                for i, site in enumerate(self.sites)
            }
            losses.update(
                self.weighted('inherited',
                              step.inherited(f'{self.name}.inherited',
                                             mixers)))
        if self.weight('parent_head') > 0:
            features = {}
            for i in self.judged_sites:
                site = self.sites[i]
                features[site.parent] = [
                    self.mixtures[i].in_parent(
                        judged(i, call),
                        step.parent_feature(site.parent, call))
                    for call in range(self.calls[i])
                ]
            losses.update(
                self.weighted(
                    'parent_head',
                    step.judged(f'{self.name}.parent_head', features)))
        return losses


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
