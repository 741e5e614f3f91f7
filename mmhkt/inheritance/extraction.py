# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import contextmanager
from functools import partial
from typing import (Any, Callable, Dict, Iterable, Iterator, List, Optional,
                    Sequence, Tuple)

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .dissection import INPUT, Dissection, exchanged
from .feature_cache import FeatureCache
from .layout import features, pick, put

# What a site does to the feature that passes it.
Mixer = Callable[[Tensor], Tensor]


class Extraction:
    """E: reads a network's features at its sites, and runs on from there.

    A network is read with :meth:`record` and then run again with
    :meth:`rerun`, in which the features at some sites are replaced. Whatever
    was finished before the first of those sites is taken from the record, so
    that the second run costs only the rest of the network. Nothing of this
    stays on the network: ``forward`` of the modules concerned is exchanged
    for the duration of the run alone. That also reaches modules whose
    ``forward`` is called directly, which hooks would miss.

    Args:
        network (nn.Module): The network.
        dissection (Dissection): What a dry run of it showed.
        head_site (str, optional): Where the feature is that its head is
            given.
        logits_site (str): Where its logits are.
        once (Sequence[str]): Children of the network that it does without
            when it is run again. Defaults to none.
        presets (dict[str, Sequence[str]], optional): Sites that have a name
            in networks of this kind. Defaults to None.
    """

    def __init__(self,
                 network: nn.Module,
                 dissection: Dissection,
                 head_site: Optional[str],
                 logits_site: str,
                 once: Sequence[str] = (),
                 presets: Optional[Dict[str, Sequence[str]]] = None):
        self.network = network
        self.dissection = dissection
        self.head_site = head_site
        self.logits_site = logits_site
        self.once = once
        self.presets = presets or {}
        self._modules = dict(network.named_modules())
        self._norms = [
            m for m in self._modules.values() if isinstance(m, _BatchNorm)
        ]
        self._wanted: Dict[str, None] = {}
        # Modules to be mixed at -> which of them, and which others, a run
        # takes from the record.
        self._plans: Dict[frozenset, Tuple[List[str], List[str]]] = {}
        self._record: Dict[str, List[Any]] = {}
        # Of a network that always makes the same of the same images.
        self.cache: Optional[FeatureCache] = None

    def want(self, sites: Iterable[str], rerun: bool = False) -> None:
        """Announce what will be read.

        Args:
            sites (Iterable[str]): Paths of :class:`Dissection`.
            rerun (bool): Whether the network will be run again from there.
                Defaults to False.

        Raises:
            ValueError: If it would have to run again from within a module.
        """
        sites = tuple(sites)
        names = [self.dissection.split(site)[0] for site in sites]
        if rerun:
            for name in names:
                if name.endswith(INPUT):
                    raise ValueError(
                        f'The {self.dissection.role}\'s "{name}" can be read '
                        'but not be replaced; choose the output of a module.')
            names += self._plan(sites)
        self._wanted.update(dict.fromkeys(names))

    def _plan(self, sites: Sequence[str]) -> List[str]:
        dissection = self.dissection
        names = list(dict.fromkeys(dissection.split(s)[0] for s in sites))
        if len(names) == 1 and dissection.runs(names[0]) == 1:
            roots, shortcuts = names, dissection.finished_before(names[0])
        else:
            # Neither what a mixture leads to nor, in a loop, the same module
            # further on can be taken from the record.
            still = dissection.unaffected(sites)
            roots = [name for name in names if name in still]
            shortcuts = [
                name for name in dissection.largest([*still, *names])
                if name not in names
            ]
        self._plans[frozenset(names)] = roots, shortcuts
        return shortcuts

    def read(self, images: Tensor) -> None:
        """Run the network on images, or have what it would do from the cache.

        Args:
            images (Tensor): As the network takes them.
        """
        key = kept = None
        if self.cache is not None:
            key = self.cache.key(images)
            kept = self.cache.load(key, self._wanted, images.device)
        if kept is not None:
            self._record = {
                name: [(output, _versions(output) if same else None)
                       for output, same in outputs]
                for name, outputs in kept.items()
            }
            return
        with self.record():
            self.network(images)
        if self.cache is not None:
            self.cache.save(
                key, {
                    name: [(output, _versions(output) == versions)
                           for output, versions in outputs]
                    for name, outputs in self._record.items()
                })

    @contextmanager
    def record(self, mixers: Optional[Dict[str, Mixer]] = None) -> Iterator:
        """Keep the outputs of everything wanted while the network runs.

        Args:
            mixers (dict[str, Callable], optional): What to do to the feature
                at some sites on its way; the record keeps it as it was.
        """
        self._record = {name: [] for name in self._wanted}
        mixers = self._by_module(mixers or {})

        def keep(name, forward, *args, **kwargs):
            if name + INPUT in self._record:
                given = features(args)[:1]
                if getattr(self._modules[name], 'inplace', False):
                    given = [feature.clone() for feature in given]
                self._note(name + INPUT, given)
            output = forward(*args, **kwargs)
            if name in self._record:
                self._note(name, output)
            for index, mixer in mixers.get(name, ()):
                output = put(output, mixer(pick(output, index)), index)
            return output

        with exchanged({
                self._modules[name]:
                partial(keep, name, self._modules[name].forward)
                for name in {
                    n.removesuffix(INPUT): None
                    for n in self._wanted
                }
        }):
            yield

    def _note(self, name: str, output: Any) -> None:
        self._record[name].append((output, _versions(output)))

    @contextmanager
    def rerun(self, mixers: Dict[str, Mixer]) -> Iterator:
        """Run on, once, from the recorded features at some sites.

        The statistics of batch norms stay as the recorded run left them:
        they belong to the network that is deployed, which never sees these
        features.

        Args:
            mixers (dict[str, Callable]): Site -> what to do to its feature.
        """
        exchange = {}
        roots, shortcuts = self._planned(mixers)
        for name in shortcuts:
            outputs = iter([output for output, _ in self._record[name]])
            exchange[self._modules[name]] = partial(_recorded, outputs)

        for name, changes in self._by_module(mixers).items():
            module = self._modules[name]
            if name in roots:
                outputs = [
                    self._unchanged(name, i)
                    for i in range(len(self._record[name]))
                ]
                forward = partial(_recorded, iter(outputs))
            else:
                forward = module.forward
            exchange[module] = partial(_mixed, forward, changes)

        with exchanged(exchange), self._statistics_kept():
            with self._without_once():
                yield

    def _planned(self, mixers: Iterable[str]) -> Tuple[List[str], List[str]]:
        """The plan for these sites. What is mixed beyond a plan, behind its
        first site, is computed anew."""
        names = {self.dissection.split(site)[0] for site in mixers}
        first = self.dissection.first(mixers)
        plans = [
            plan for plan in self._plans if first in plan and plan <= names
        ]
        if not plans:
            raise RuntimeError(
                f'The {self.dissection.role} cannot run again from '
                f'{", ".join(sorted(names))}: announce these sites together, '
                'want(sites, rerun=True), before it runs.')
        return self._plans[max(plans, key=len)]

    def feature(self, site: str, call: int = -1) -> Tensor:
        """The recorded feature at a site.

        Args:
            site (str): The site.
            call (int): Of which run of its module. Defaults to -1, the last.
        """
        name, index = self.dissection.split(site)
        return pick(self._unchanged(name, call), index)

    def _unchanged(self, name: str, call: int) -> Any:
        output, versions = self._record[name][call]
        if _versions(output) != versions:
            raise RuntimeError(
                f'The {self.dissection.role}\'s "{name}" cannot be a site: a '
                'later operation overwrites its output in place (an addition '
                'or an activation with inplace=True). Choose the block around '
                'it.')
        return output

    def forget(self) -> None:
        """Let go of the record, so that its memory is free."""
        self._record = {}

    def _by_module(self, mixers: Dict[str, Mixer]) -> Dict[str, list]:
        by_module: Dict[str, list] = {}
        for site, mixer in mixers.items():
            name, index = self.dissection.split(site)
            by_module.setdefault(name, []).append((index, mixer))
        return by_module

    @contextmanager
    def _without_once(self) -> Iterator:
        children = self.network._modules
        before = {name: children[name] for name in self.once}
        children.update(dict.fromkeys(before))
        try:
            yield
        finally:
            children.update(before)

    @contextmanager
    def _statistics_kept(self) -> Iterator:
        norms = [
            norm for norm in self._norms
            if norm.training and norm.track_running_stats
        ]
        for norm in norms:
            norm.track_running_stats = False
        try:
            yield
        finally:
            for norm in norms:
                norm.track_running_stats = True


def _versions(output: Any) -> List[int]:
    return [f._version for f in features(output)]


def _recorded(outputs: Iterator, *args, **kwargs) -> Any:
    return next(outputs)


def _mixed(forward: Callable, changes: list, *args, **kwargs) -> Any:
    output = forward(*args, **kwargs)
    for index, mixer in changes:
        output = put(output, mixer(pick(output, index)), index)
    return output
