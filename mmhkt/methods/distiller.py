# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmhkt.inheritance import Extraction, Layout, Site
from mmhkt.inheritance.layout import as_map, as_vector, resize
from mmhkt.utils.settings import NotNegative, Positive
from .base import Method
from .common_settings import Schedules, Sees, Sites
from .step import Step


class Distiller(Method):
    """A method that adds a loss between features of child and parent.

    Each loss term in :attr:`default_weights` is a method of the subclass, of
    the same name, that is given the two features of one site,

    - ``q`` (Tensor): The child's, adapted.
    - ``z`` (Tensor): The parent's, without a gradient (but for what a method
      learns on it).
    - ``i`` (int): The number of the site.
    - ``step`` (Step): For those that need the annotations.

    and returns the loss; sites are summed. Under mixed precision features are
    adapted in half precision, as the child is computed, but losses in
    float32: sums over maps do not fit into half precision.

    The features are maps (B, C, H, W), the child's resized to the parent's
    unless :meth:`match` says otherwise. Tokens are folded into maps, without
    those in front.
    """

    default_sites = 'stages'
    default_weights = dict(native=1.0, distillation=1.0)
    # Whether it compares where something is, and not what.
    compares_positions = False

    def connect(self, sites: List[Site], child: Extraction,
                parent: Optional[Extraction]) -> None:
        super().connect(sites, child, parent)
        for site in sites:
            self.check(site)
        self.adapters = nn.ModuleList(self.adapter(site) for site in sites)

    def check(self, site: Site) -> None:
        """Refuse a site whose features cannot be compared.

        Raises:
            ValueError: Names the site and what was expected.
        """
        if site.child_layout.kind == 'vector' != site.parent_layout.kind:
            raise ValueError(
                f"The child's \"{site.child}\" ({site.child_layout}) is "
                f'pooled, so that {type(self).__name__} cannot compare it '
                f"with the parent's \"{site.parent}\" ({site.parent_layout}); "
                'choose a site before pooling.')
        for role, name, layout in (('child', site.child, site.child_layout),
                                   ('parent', site.parent,
                                    site.parent_layout)):
            if self.compares_positions and layout.grid in (None, (1, 1)):
                raise ValueError(
                    f'The {role}\'s "{name}" ({layout}) has one position '
                    f'only, so that {type(self).__name__}, which compares '
                    'where features are active, would be constant there. '
                    'Take larger images, or type sites of larger maps.')

    def adapter(self, site: Site) -> nn.Module:
        """What is learned at a site. Defaults to nothing."""
        return nn.Identity()

    def pair(self, step: Step, site: Site) -> Tuple[Tensor, Tensor]:
        """The two features of a site, as :meth:`adapt` takes them."""
        z = as_map(step.parent_feature(site.parent), site.parent_layout)
        q = as_map(self.child_feature(step, site.child), site.child_layout)
        return self.match(q, z)

    def match(self, q: Tensor, z: Tensor) -> Tuple[Tensor, Tensor]:
        """Bring the maps of child and parent to one size."""
        return resize(q, z.shape[-2:]), z

    def adapt(self, q: Tensor, z: Tensor, i: int,
              step: Step) -> Tuple[Tensor, Tensor]:
        """The two features as the loss terms take them.

        It runs in the training's own precision. Defaults to what is learned
        at the site, applied to the child's feature.

        Args:
            q (Tensor): The child's feature.
            z (Tensor): The parent's feature.
            i (int): The number of the site.
            step (Step): The step.
        """
        return self.adapters[i](q), z

    def pairs(self, step: Step) -> List[Tuple[Tensor, Tensor]]:
        """The adapted pairs of all sites."""
        return [
            self.adapt(*self.pair(step, site), i, step)
            for i, site in enumerate(self.sites)
        ]

    def describe(self) -> List[Dict[str, Any]]:
        return [
            dict(
                adapter=_describe(site, adapter),
                parameters=sum(p.numel() for p in adapter.parameters()),
                reruns='nothing')
            for site, adapter in zip(self.sites, self.adapters)
        ]

    def forward(self, step: Step) -> Dict[str, Tensor]:
        terms = [
            term for term in self.weights
            if term != 'native' and self.weight(term) > 0
        ]
        losses = {}
        for term, total in self.compare(step, terms).items():
            losses.update(self.weighted(term, dict(loss=total)))
        return losses

    def compare(self, step: Step, terms: Sequence[str]) -> Dict[str, Tensor]:
        """The loss terms of that name, summed over the sites, unweighted."""
        totals: Dict[str, Any] = dict.fromkeys(terms, 0)
        for i, pair in enumerate(self.pairs(step) if terms else ()):
            q, z = map(_full_precision, pair)
            with torch.autocast(q.device.type, enabled=False):
                for term in terms:
                    totals[term] += getattr(self, term)(q, z, i, step)
        return totals


class PooledDistiller(Distiller):
    """A distiller that compares vectors (B, C); maps and tokens are pooled.

    Their widths may differ.
    """

    default_sites = 'head'

    def check(self, site: Site) -> None:
        pass

    def pair(self, step: Step, site: Site) -> Tuple[Tensor, Tensor]:
        z = as_vector(step.parent_feature(site.parent), site.parent_layout)
        q = as_vector(self.child_feature(step, site.child), site.child_layout)
        return q, z


class LogitDistiller(Distiller):
    """A distiller that compares logits (N, K).

    Of dense logits (B, K, H, W) every position is a row. Where both networks
    name their classes they are matched by name.

    Args:
        temperature (float): What logits are divided by. Defaults to 4.
        standardise (bool): Whether each row is brought to mean 0 and standard
            deviation 1 first, `Logit Standardization in Knowledge
            Distillation <https://arxiv.org/abs/2403.01427>`_ (CVPR 2024),
            which recommends a temperature of 2 and, for KD, a weight of 9.
            Defaults to False.
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.

    Raises:
        ValueError: If the temperature is not positive or the parent has
            other classes.
    """

    default_sites = 'logits'
    # Whether it can compare probabilities class by class, where classes do
    # not exclude each other.
    class_by_class = False
    # Whether it has to.
    independent = False

    def __init__(self,
                 temperature: Positive = 4.0,
                 standardise: bool = False,
                 sites: Sites = None,
                 weights: Optional[Dict[str, NotNegative]] = None,
                 schedule: Schedules = None,
                 sees: Sees = None):
        super().__init__(
            sites=sites, weights=weights, schedule=schedule, sees=sees)
        self.temperature = temperature
        self.standardise = standardise

    def connect(self, sites: List[Site], child: Extraction,
                parent: Optional[Extraction]) -> None:
        if parent is not None and parent.conflict:
            raise ValueError(parent.conflict)
        self.independent = not child.classes.exclusive
        super().connect(sites, child, parent)

    def check(self, site: Site) -> None:
        super().check(site)
        classes = site.child_layout.channels, site.parent_layout.channels
        if not self.class_by_class and (self.independent or classes[0] == 1):
            raise ValueError(
                f"The classes of the child's logits, \"{site.child}\", do not "
                f'exclude each other ({classes[0]} channel(s), each with a '
                f'probability of its own), but {type(self).__name__} compares '
                'distributions over classes. Take KD, which then compares '
                'class by class, a head with one channel for each of the '
                'classes, or a method that compares features.')
        if classes[0] != classes[1]:
            raise ValueError(
                f'The parent has {classes[1]} classes, the child {classes[0]},'
                f' so that {type(self).__name__} cannot compare their logits. '
                f'Take a parent of {classes[0]} classes, or a method that '
                'compares features.')

    def pair(self, step: Step, site: Site) -> Tuple[Tensor, Tensor]:
        return tuple(
            logits.movedim(1, -1).flatten(0, -2)
            for logits in super().pair(step, site))

    def scaled(self, logits: Tensor) -> Tensor:
        """Logits (N, K) standardised, if wanted, over the temperature.

        Two logits are not: all that would be left of them is which one is
        larger, of which there is no gradient.
        """
        if (self.standardise and not self.independent and logits.shape[1] > 2):
            logits = standardised(logits)
        return logits / self.temperature


def at_smaller_size(q: Tensor, z: Tensor) -> Tuple[Tensor, Tensor]:
    """The larger of two maps pooled to the size of the smaller one."""
    size = [min(sizes) for sizes in zip(q.shape[-2:], z.shape[-2:])]
    return resize(q, size), resize(z, size)


def normalised(vectors: Tensor, least: float = 0.01) -> Tensor:
    """Vectors (..., C) of norm 1.

    Those next to nothing beside the others, as the difference of two images
    that are taken for one, are left shorter: divided by no less than
    ``least`` of the mean norm. Else their gradient would be next to infinite.
    """
    norms = vectors.norm(dim=-1, keepdim=True)
    floor = (least * norms.detach().mean()).clamp_min(1e-12)
    return vectors / norms.maximum(floor)


def standardised(logits: Tensor,
                 eps: float = 1e-7,
                 least: float = 0.01) -> Tensor:
    """Rows (N, K) of mean 0 and standard deviation 1.

    Rows that are nearly constant, as of a head whose weights begin with 0,
    are left smaller: divided by what is next to nothing their gradient would
    be next to infinite, and the first step would ruin the child.
    """
    centred = logits - logits.mean(1, keepdim=True)
    return centred / (logits.std(1, keepdim=True) + eps).clamp_min(least)


def project(source: Layout, target: Layout, bias: bool = False) -> nn.Conv2d:
    """A 1x1 convolution between the widths of two layouts."""
    return nn.Conv2d(source.channels, target.channels, 1, bias=bias)


def _full_precision(feature: Tensor) -> Tensor:
    return feature.to(torch.promote_types(feature.dtype, torch.float32))


def _describe(site: Site, adapter: nn.Module) -> str:
    if isinstance(adapter, nn.Identity):
        return 'none'
    return (f'{type(adapter).__name__} {site.child_layout.channels} to '
            f'{site.parent_layout.channels}')
