# Copyright (c) mmhkt authors. All rights reserved.
from abc import ABCMeta, abstractmethod
from typing import Any, Dict, List, Optional, Sequence

from mmengine.model import BaseModule
from torch import Tensor

from mmhkt.inheritance import Extraction, Site
from mmhkt.utils import nearest
from mmhkt.utils.settings import NotNegative
from .common_settings import Schedules, Sees, Sites
from .schedule import Schedule
from .step import Step


class Method(BaseModule, metaclass=ABCMeta):
    """How a child inherits: turns a :class:`Step` into named losses.

    A method is one class in one file. It names its loss terms and their
    default weights in :attr:`default_weights`, builds what it learns in
    :meth:`connect`, once the sites and their shapes are known, and computes
    its losses in :meth:`forward`. What it learns is trained, clipped, saved
    and resumed with the child, beside it, and never deployed.

    Args:
        sites (str | Sequence[dict], optional): See
            :func:`mmhkt.inheritance.find_sites`. Defaults to None: the
            method's own choice, :attr:`default_sites`.
        weights (dict[str, float], optional): Loss term -> weight, merged
            into :attr:`default_weights`. A term of weight 0 is not computed.
        schedule (Sequence[dict], optional): How weights and intensity change
            while training, see :class:`mmhkt.hooks.TransferHook`. Defaults
            to None: :attr:`default_schedule`.
        sees (str, optional): Which features of the child it sees, those of
            its ``'own'`` pass or of the pass with a ``'mixture'`` in it.
            Defaults to None: of the pass that there is anyway, the own one
            unless all losses are on the mixture.

    Raises:
        ValueError: If a weight's name is unknown or its value negative, or
            there is no such pass.
    """

    # Whether there has to be a parent.
    needs_parent = True
    # None: it looks at no features.
    default_sites: Optional[str] = 'head'
    # 'native' is the child's own loss, computed whatever the method is.
    default_weights: Dict[str, float] = dict(native=1.0)
    default_schedule: Sequence[dict] = ()
    # Those of the knobs that can be turned for some sites.
    site_knobs: Sequence[str] = ()

    def __init__(self,
                 sites: Sites = None,
                 weights: Optional[Dict[str, NotNegative]] = None,
                 schedule: Schedules = None,
                 sees: Sees = None):
        super().__init__()
        name = type(self).__name__
        self.sees = sees
        # What logs call it; numbered where one method is listed twice.
        self.name = name.lower()
        self.sites_wanted = self.default_sites if sites is None else sites
        self.sites: List[Site] = []
        self.weights = dict(self.default_weights)
        for term, weight in (weights or {}).items():
            if term not in self.weights:
                raise ValueError(f'{name} has no loss term "{term}"; '
                                 f'{nearest(term, self.weights)}.')
            self.weights[term] = float(weight)
        self.set_schedule(self.default_schedule if schedule is
                          None else schedule)
        # Set by them; multiply the weights.
        self.factors = {term: 1.0 for term in self.weights}

    def set_schedule(self, schedule: Sequence[dict]) -> None:
        """How knobs move from now on, as in the argument ``schedule``."""
        self.schedule = list(schedule)
        self.schedules = [
            Schedule.from_cfg(cfg, self.knobs(),
                              type(self).__name__, self.site_knobs)
            for cfg in self.schedule
        ]

    def work(self) -> tuple:
        """What a step does now, for the time that it takes."""
        return (self.active(), self.mixes(), self.needs_own(),
                *(self.weight(term) > 0 for term in self.weights))

    def weight(self, term: str) -> float:
        """The present weight of a loss term."""
        return self.weights[term] * self.factors[term]

    def child_feature(self, step: Step, site: str, call: int = -1) -> Tensor:
        """The child's feature at a site, of the pass that the method sees."""
        return step.child_feature(site, call, self.sees)

    def mixes(self) -> bool:
        """Whether it mixes features on their way through the child now."""
        return False

    def needs_own(self) -> bool:
        """Whether the child's own pass is needed now, whatever else is."""
        return self.sees == 'own'

    def active(self) -> bool:
        """Whether the parent is needed now."""
        return any(
            self.weight(term) > 0 for term in self.weights if term != 'native')

    def weighted(self, term: str, losses: Dict[str, Tensor]) -> dict:
        """Weigh what is a loss and name everything by its term."""
        weight = self.weight(term)
        return {
            f'{term}.{key}': _scaled(value, weight) if 'loss' in key else value
            for key, value in losses.items()
        }

    def knobs(self) -> List[str]:
        """What a schedule can turn."""
        return [f'weights.{term}' for term in self.weights]

    def turn(self,
             knob: str,
             factor: float,
             sites: Optional[Sequence[int]] = None) -> None:
        """Set a knob to a fraction of its configured value.

        Args:
            knob (str): One of :meth:`knobs`.
            factor (float): The fraction.
            sites (Sequence[int], optional): For which sites, by number or,
                negative, from the end; of :attr:`site_knobs`.
                Defaults to None, all.
        """
        self.factors[knob.split('.', 1)[1]] = factor

    def turns_off(self) -> bool:
        """Whether something that it learns may get no gradient for a while,
        because a schedule turns it off (distributed runs must know)."""
        return bool(self.schedule) and any(True for _ in self.parameters())

    def survey(self, dataset: Any) -> None:
        """See the training set before :meth:`connect`.

        For methods that remember every image. It does not happen where only
        the pairing is printed.

        Args:
            dataset (Dataset): As the training dataloader has it.
        """

    def connect(self, sites: List[Site], child: Extraction,
                parent: Optional[Extraction]) -> None:
        """Build what the method learns, and announce what it will read.

        Args:
            sites (list[Site]): Where the child inherits; empty without a
                parent.
            child (Extraction): Of the child.
            parent (Extraction, optional): Of the parent.
        """
        self.sites = sites
        child.want(site.child for site in sites)
        if parent is not None:
            parent.want(site.parent for site in sites)

    def bounds(self) -> Optional[float]:
        """How large the child's gradient may be now, relative to its weights
        (:func:`mmhkt.inheritance.bound_gradients`); None: as large as it is.
        """
        return None

    def notes(self) -> List[str]:
        """What is said below the pairing table."""
        return []

    def describe(self) -> List[Dict[str, Any]]:
        """One row a site for the pairing table: ``adapter`` (what is done to
        the parent's feature), ``parameters`` (learned in training only) and
        ``reruns`` (what runs once more beside the one forward pass, if that
        is the child's own)."""
        return [
            dict(adapter='none', parameters=0, reruns='nothing')
            for _ in self.sites
        ]

    def statistics(self) -> Dict[str, Tensor]:
        """What the logs show of the last step beside the losses.

        Returns:
            dict[str, Tensor]: Name -> scalar. What is named
            ``'<what>.<site>'`` is drawn in the report of a comparison too, a
            plot for each ``<what>``.
        """
        return {}

    @abstractmethod
    def forward(self, step: Step) -> Dict[str, Tensor]:
        """The method's losses, weighted, by name."""


def _scaled(value, weight: float):
    # OpenMMLab's losses may be lists of tensors, one a level.
    if isinstance(value, (list, tuple)):
        return [weight * item for item in value]
    return weight * value
