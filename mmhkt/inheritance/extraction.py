# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import contextmanager
from functools import cached_property, partial
from typing import (Any, Collection, Dict, Iterable, Iterator, List, Optional,
                    Sequence, Tuple)

from torch import Tensor, nn

from .checkpointing import Regions
from .classes import Classes
from .compilation import compiled
from .dissection import Dissection
from .exchange import exchanged
from .feature_cache import FeatureCache
from .feature_rows import Outputs
from .outputs import features, pick
from .precision import Precision
from .stages import Trunk
from .statistics import RunningStatistics
from .tape import INPUT, Mixer, Pass, Tap, Tape, versions

# The pass of a network on its own features.
OWN = 'own'


class Extraction:
    """E: reads a network's features at its sites, and runs on from there.

    Maps are (B, C, H, W) to everybody else, also those of networks that put
    their channels last.

    Methods announce what they read, :meth:`want`. Taps are then put on the
    modules concerned, once, and stay until the training ends,
    :meth:`tapped`. A first pass of the network is noted by :meth:`record`.
    With :meth:`rerun` it runs again with the features at some sites replaced;
    whatever was finished before the first of those sites is taken from the
    first pass, so that this costs only the rest of the network.

    Args:
        network (nn.Module): The network.
        dissection (Dissection): What a dry run of it showed.
        head_site (str, optional): Where the feature is that its head is
            given.
        logits_site (str, optional): Where its logits are; None where there
            are none, or several.
        once (Sequence[str]): Children of the network that it does without
            when it is run again. Defaults to none.
        presets (dict[str, Sequence[str]], optional): Sites that have a name
            in networks of this kind. Defaults to None.
        classes (Classes, optional): What the logits stand for. Defaults to
            None, of classes without names that exclude each other.
    """

    def __init__(self,
                 network: nn.Module,
                 dissection: Dissection,
                 head_site: Optional[str],
                 logits_site: Optional[str],
                 once: Sequence[str] = (),
                 presets: Optional[Dict[str, Sequence[str]]] = None,
                 classes: Optional[Classes] = None):
        self.network = network
        self.dissection = dissection
        self.head_site = head_site
        self.logits_site = logits_site
        self.once = once
        self.presets = presets or {}
        self.classes = classes or Classes()
        # The classes of another network among this one's, if it has them in
        # another order; why logits cannot be compared at all.
        self._order: Optional[List[int]] = None
        self.conflict: Optional[str] = None
        self.statistics = RunningStatistics(network)
        self.tape = Tape(Regions(self.statistics))
        self._wanted: Dict[str, None] = {}
        # Modules to be mixed at -> which of them, and which others, a second
        # pass takes from the first.
        self._plans: Dict[frozenset, tuple] = {}
        self._first = OWN
        self._tapped: Dict[str, None] = {}
        # Of a network that always makes the same of the same images.
        self.cache: Optional[FeatureCache] = None
        self.precision = Precision()

    @cached_property
    def trunk(self) -> Trunk:
        """Trunk: The network's stages."""
        return Trunk(self.dissection)

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
        names = self._names(sites)
        if rerun:
            for name in names:
                if name.endswith(INPUT):
                    raise ValueError(
                        f'The {self.dissection.role}\'s "{name}" can be read '
                        'but not be replaced; choose the output of a module.')
            names += self._plan(sites)
        self._wanted.update(dict.fromkeys(names))

    def copy_overwritten(self, sites: Iterable[str]) -> None:
        """Note copies where the dry run saw a feature overwritten in place.

        For what is read on its way as long as something is mixed into it,
        which overwrites nothing, and afterwards where it lies.

        Args:
            sites (Iterable[str]): Paths of :class:`Dissection`.
        """
        self.tape.copied.update(
            filter(self.dissection.overwritten, self._names(sites)))

    @property
    def wanted(self) -> Collection[str]:
        """Paths of modules, and of their inputs, that will be read."""
        return self._wanted.keys()

    def _plan(self, sites: Sequence[str]) -> List[str]:
        names = self._names(sites)
        # Neither what a mixture leads to nor, in a loop, the same module
        # further on can be taken from the first pass.
        free = self.dissection.unaffected(sites)
        roots = [name for name in names if name in free]
        shortcuts = [
            name for name in self.dissection.reusable([*free, *names])
            if name not in names
        ]
        self._plans[frozenset(names)] = roots, shortcuts
        return shortcuts

    def _names(self, sites: Iterable[str]) -> List[str]:
        return list(dict.fromkeys(self.dissection.split(s)[0] for s in sites))

    @contextmanager
    def tapped(self, compile_cfg: Optional[dict] = None) -> Iterator:
        """Put the taps on; they leave the network at the end.

        Args:
            compile_cfg (dict, optional): Arguments of ``torch.compile``, for
                what lies between the taps. Defaults to None: no compilation.
        """
        names = dict.fromkeys(n.removesuffix(INPUT) for n in self._wanted)
        forwards: Dict[str, Any] = {}
        if compile_cfg is not None:
            forwards.update(compiled(self.network, names, compile_cfg))
        for name in names:
            forwards[name] = Tap(name, self.network.get_submodule(name),
                                 self.tape, forwards.get(name))
        self._tapped = names
        try:
            with exchanged({
                    self.network.get_submodule(name): forward
                    for name, forward in forwards.items()
            }):
                yield
        finally:
            self._tapped = {}

    def read(self, images: Tensor) -> None:
        """Run the network on images as far as something is wanted, or have
        what it would do from the cache.

        Args:
            images (Tensor): As the network takes them.
        """
        kept = self._run(images) if self.cache is None else (
            self.cache.features(images, self._wanted, self._run))
        for name, outputs in kept.items():
            handed = [(self.precision.given(output), same)
                      for output, same in outputs]
            self.tape.notes(OWN)[name] = [(output,
                                           versions(output) if same else None)
                                          for output, same in handed]

    def _run(self, images: Tensor) -> Dict[str, Outputs]:
        """The outputs of a frozen network; those that later operations
        overwrite are seen the first time, and copied from then on."""
        with self.precision.running(images.device), self.record(stop=True):
            self.network(images)
        overwritten = {
            name
            for name, outputs in self.tape.notes(OWN).items() if any(
                versions(output) != then for output, then in outputs)
        }
        if not overwritten <= self.tape.copied:
            self.tape.copied |= overwritten
            return self._run(images)
        return {
            name: [(self.precision.rounded(output), versions(output) == then)
                   for output, then in outputs]
            for name, outputs in self.tape.notes(OWN).items()
        }

    @contextmanager
    def record(self,
               mixers: Optional[Dict[str, Mixer]] = None,
               name: str = OWN,
               stop: bool = False) -> Iterator:
        """Note the outputs of everything wanted while the network runs.

        Args:
            mixers (dict[str, Callable], optional): What to do to the feature
                at some sites on its way; noted is what it was before.
            name (str): Of the pass. Defaults to ``'own'``.
            stop (bool): Whether the network is stopped where everything is
                there. Defaults to False.
        """
        self._check_tapped()
        self._first = name
        left = sum(map(self.dissection.runs, self._wanted)) if stop else None
        with self.statistics.finite(), self.tape.run(
                Pass(
                    name,
                    self._by_module(mixers or {}),
                    note=self._wanted,
                    left=left)):
            yield

    @contextmanager
    def rerun(self, mixers: Dict[str, Mixer], name: str = 'rerun') -> Iterator:
        """Run on, once, from the features of the first pass at some sites.

        The statistics of batch norms stay as the first pass left them: they
        belong to the network that is deployed, which never sees these
        features.

        Args:
            mixers (dict[str, Callable]): Site -> what to do to its feature.
            name (str): Of the pass. Defaults to ``'rerun'``.
        """
        self._check_tapped()
        names = self._names(mixers)
        if frozenset(names) not in self._plans:
            raise RuntimeError(
                f'The {self.dissection.role} cannot run again from '
                f'{", ".join(names)}: announce just these sites together, '
                'want(sites, rerun=True), before it runs.')
        roots, shortcuts = self._plans[frozenset(names)]
        given = {
            root:
            iter([
                self._unchanged(root, call)
                for call in range(self.dissection.runs(root))
            ])
            for root in roots
        }
        for shortcut in shortcuts:
            notes = self.tape.noted(shortcut, [self._first])
            given[shortcut] = iter([output for output, _ in notes])
        again = Pass(name, self._by_module(mixers), given, self._wanted)
        device = next(self.network.parameters()).device
        with (self.precision.running(device), self.statistics.kept(),
              self._without_once(), self.tape.run(again)):
            yield

    def _check_tapped(self) -> None:
        missing = [
            n for n in self._wanted
            if n.removesuffix(INPUT) not in self._tapped
        ]
        if missing:
            raise RuntimeError(
                f'The {self.dissection.role} has no tap at '
                f'{", ".join(missing) or "its sites"}: run it within '
                '`tapped()`, after everything wanted has been announced.')

    def feature(self,
                site: str,
                call: int = -1,
                run: Optional[str] = None) -> Tensor:
        """The noted feature at a site.

        Args:
            site (str): The site.
            call (int): Of which run of its module. Defaults to -1, the last.
            run (str, optional): Of which pass; of the first one where that
                did not run the module. Defaults to None, the first pass.
        """
        name, index = self.dissection.split(site)
        feature = pick(self._unchanged(name, call, run), index)
        if self.dissection.channels_last(site):
            feature = feature.movedim(-1, 1)
        if self._order and self.at_logits(site):
            feature = self.in_order(feature)
        return feature

    def at_logits(self, site: str) -> bool:
        """Whether a site is where the logits are."""
        return self.logits_site is not None and (
            self.dissection.canonical(site) == self.dissection.canonical(
                self.logits_site))

    def order_like(self, classes: Classes) -> None:
        """Have logits read in the order of another network's classes, which
        are matched by name."""
        try:
            self._order = classes.order_in(self.classes)
        except ValueError as error:
            self.conflict = str(error)
        if classes.exclusive != self.classes.exclusive:
            kinds = ('exclude each other'
                     if c.exclusive else 'do not exclude each other'
                     for c in (classes, self.classes))
            self.conflict = (
                'The classes of the child {}, those of the parent {}, so that '
                'their logits cannot be compared.'.format(*kinds))

    @property
    def reordered(self) -> bool:
        """Whether the logits are read in another order than their own."""
        return self._order is not None

    def in_order(self, logits: Tensor) -> Tensor:
        """Logits with their classes in the order wanted."""
        return logits if self._order is None else logits[:, self._order]

    def _unchanged(self,
                   name: str,
                   call: int,
                   run: Optional[str] = None) -> Any:
        passes = [run or self._first, self._first]
        output, then = self.tape.noted(name, passes)[call]
        if versions(output) != then:
            raise RuntimeError(
                f'The {self.dissection.role}\'s "{name}" cannot be a site: a '
                'later operation overwrites its output in place (an addition '
                'or an activation with inplace=True). Choose the block around '
                'it.')
        return output

    def everywhere(self, site: str) -> List[Tensor]:
        """The feature at a site in every pass and run of its module."""
        name, index = self.dissection.split(site)
        return [pick(output, index) for output in self.tape.everywhere(name)]

    def seen(self) -> Iterator[Tuple[str, Tensor]]:
        """What was noted in the first pass, in the order of its run: path of
        the module, and each tensor that it returned."""
        for name, outputs in self.tape.notes(self._first).items():
            for output, _ in outputs:
                for feature in features(output):
                    if feature.is_floating_point():
                        yield name, feature

    def logits(self, run: str) -> Tensor:
        """The logits of a pass, as its loss was given them, detached."""
        name, index = self.dissection.split(self.logits_site)
        output = self.tape.returned(name, [run, self._first])
        return pick(output, index).detach()

    def forget(self) -> None:
        """Let go of what was noted, so that its memory is free."""
        self.tape.forget()

    def _by_module(self, mixers: Dict[str, Mixer]) -> Dict[str, list]:
        by_module: Dict[str, list] = {}
        for site, mixer in mixers.items():
            name, index = self.dissection.split(site)
            if self.dissection.channels_last(site):
                mixer = partial(_with_channels_first, mixer)
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


def _with_channels_first(mixer: Mixer, feature: Tensor) -> Tensor:
    return mixer(feature.movedim(-1, 1)).movedim(1, -1)
