# Copyright (c) mmhkt authors. All rights reserved.
import re
from dataclasses import dataclass, field
from functools import partial
from typing import (Callable, Dict, FrozenSet, Iterable, Iterator, List,
                    Optional, Sequence, Set, Tuple)

import torch
from mmengine.model import is_model_wrapper
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from mmhkt.utils import nearest
from .exchange import exchanged
from .influence import Influence, StorageWeakRef, Writes, storage_of
from .layout import Layout, channels_last
from .outputs import features, given, main, names, pick, put
from .tape import INPUT

ACTIVATIONS = (nn.CELU, nn.ELU, nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.Mish,
               nn.PReLU, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.SiLU)


@dataclass
class Call:
    """One call of one module in a dry run.

    ``shapes`` and ``names`` are of its outputs, of which ``main`` is the one
    that is meant where none is said. ``given_by`` and ``returned_by`` are the
    calls, with the site, that its first argument and its first output come
    from as they are, None where they come from no module; ``passed_on`` are
    the sites that any of its outputs come from. ``overwriters`` are modules in
    whose forward pass one of its outputs was written to.
    """
    name: str
    start: int
    around: Optional['Call']
    end: int = -1
    shapes: List[Tuple[int, ...]] = field(default_factory=list)
    names: List[str] = field(default_factory=list)
    main: int = 0
    given_by: Optional[Tuple['Call', str]] = None
    returned_by: Optional[Tuple['Call', str]] = None
    passed_on: List[str] = field(default_factory=list)
    overwriters: Set[str] = field(default_factory=set)


class Dissection:
    """Which modules of a network run, in which order, with what shapes.

    Args:
        network (nn.Module): The network; its mode (training or not) and its
            buffers are left as they are.
        image (Tensor): A normalised image batch (B, C, H, W).
        role (str): What errors call the network, ``'child'`` or
            ``'parent'``.
        backbone (str): Path of the module in which its stages are looked
            for. Defaults to ``'backbone'``.
    """

    def __init__(self,
                 network: nn.Module,
                 image: torch.Tensor,
                 role: str,
                 backbone: str = 'backbone'):
        assert not is_model_wrapper(network)
        self.network = network
        self.role = role
        self.backbone = backbone
        self.image = image
        self.image_size = tuple(image.shape[-2:])
        # In the order in which they end.
        self.calls: List[Call] = []
        # Of modules and, as of something that only begins, of their inputs.
        self._by_name: Dict[str, List[Call]] = {}
        self._split: Dict[str, tuple] = {}
        # timm's networks that put channels last say so.
        self._declares_channels_last = any(
            str(getattr(module, 'output_fmt', '')).endswith('NHWC')
            for module in network.modules())
        self._dry_run(image)

    def overwritten(self, name: str) -> bool:
        """Whether something wrote to what a module had returned."""
        return any(call.overwriters for call in self._by_name[name])

    def _dry_run(self, image: torch.Tensor) -> None:
        around: List[Call] = []
        clock = iter(range(10**9))
        # Weak: a dry run must not need the memory of all features at once.
        makers = WeakTensorKeyDictionary()
        owners: Dict[StorageWeakRef, List[Call]] = {}

        def maker(tensors):
            return makers.get(tensors[0]) if tensors else None

        def written(tensor):
            for call in owners.get(storage_of(tensor), ()):
                call.overwriters.add(around[-1].name if around else '')

        def seen(name, forward, *args, **kwargs):
            first = given(args, kwargs)
            call = Call(
                name,
                next(clock),
                around[-1] if around else None,
                given_by=maker(first))
            self._by_name.setdefault(name + INPUT, []).append(
                Call(name + INPUT, call.start, call.around, call.start,
                     [tuple(f.shape) for f in first]))
            around.append(call)
            output = forward(*args, **kwargs)
            around.pop()
            call.end = next(clock)
            returned = features(output)
            call.shapes = [tuple(f.shape) for f in returned]
            call.names, call.main = names(output), main(output)
            call.returned_by = maker(returned)
            call.passed_on = [
                made[1] for made in map(makers.get, returned) if made
            ]
            for i, feature in enumerate(returned):
                site = name if len(returned) == 1 else f'{name}[{i}]'
                makers[feature] = call, site
                owners.setdefault(storage_of(feature), []).append(call)
            self.calls.append(call)
            self._by_name.setdefault(name, []).append(call)
            return output

        try:
            with Writes(written):
                self._run(image, seen)
        except Exception as error:
            size = 'x'.join(map(str, self.image_size))
            raise ValueError(
                f'The {self.role} ({type(self.network).__name__}) cannot '
                f'take images of {size} pixels '
                f'({type(error).__name__}: {error}).' +
                (' It can be given another size by parent=dict(..., '
                 'input_size=(H, W)).' if self.role == 'parent' else '')
            ) from error

    @torch.no_grad()
    def _run(self, image: torch.Tensor, seen: Callable) -> None:
        modules = dict(self.network.named_modules())
        training = {m: m.training for m in modules.values()}
        self.network.eval()
        try:
            with exchanged({
                    m: partial(seen, n, m.forward)
                    for n, m in modules.items()
            }):
                self.network(image)
        finally:
            for module, mode in training.items():
                module.training = mode

    def split(self, site: str) -> Tuple[str, Optional[int]]:
        """A site's module and which of its outputs it means.

        Args:
            site (str): A module path such as ``'backbone.layer3'``;
                negative indices count from the end
                (``'backbone.layer3.-1'``); ``'[i]'`` behind it picks one of
                several outputs, counted through tuples, lists and dicts
                (``'backbone[0]'``), ``'[name]'`` one that a dict names
                (``'head[digit]'``); ``'@in'`` behind it means the module's
                first argument.

        Returns:
            tuple[str, int | None]: The module's name as torch has it, and
            the number of the output (None: the main one).

        Raises:
            ValueError: If there is no such module or output, or if it does
                not run; names the nearest that do.
        """
        if site not in self._split:
            self._split[site] = self._resolve(site)
        return self._split[site]

    def _resolve(self, site: str) -> Tuple[str, Optional[int]]:
        path, index, given = re.fullmatch(
            rf'(.*?)(?:\[([^\[\]]*)\])?({INPUT})?', site, re.DOTALL).groups()
        parts: List[str] = []
        module = self.network
        for part in path.split('.'):
            names = list(module._modules)
            if re.fullmatch(r'-\d+', part) and int(part) >= -len(names):
                part = names[int(part)]
            if part not in names:
                raise ValueError(f'The {self.role} has no module "{path}"; '
                                 f'{nearest(path, self._that_run())}.')
            parts.append(part)
            module = module._modules[part]
        name = '.'.join(parts)
        if name not in self._by_name:
            raise ValueError(
                f'The {self.role}\'s module "{path}" does not run in a '
                'forward pass, so that it has no feature; '
                f'{nearest(path, self._that_run())}.')
        if given:
            if index is not None or not self._by_name[name + given][-1].shapes:
                raise ValueError(f'The {self.role} has no feature "{site}": '
                                 f'"{path}{INPUT}" means the first argument '
                                 'of a module that is given one.')
            return name + given, 0
        return name, self._number(site, self._by_name[name][-1], index)

    def _number(self, site: str, call: Call,
                typed: Optional[str]) -> Optional[int]:
        """Of the output that is meant, None for the main one."""
        count = len(call.shapes)
        if typed is None and count:
            return None
        if typed in call.names:
            return call.names.index(typed)
        if typed is not None and re.fullmatch(
                r'-?\d+', typed) and -count <= int(typed) < count:
            return int(typed)
        which = ''.join(f' [{name}]' for name in call.names)
        raise ValueError(f'The {self.role}\'s module "{call.name}" returns '
                         f'{count} feature(s){which}, so that there is no '
                         f'"{site}".')

    def canonical(self, site: str) -> str:
        """A site's one spelling: names for indices, the output counted."""
        name, index = self.split(site)
        call = self._by_name[name][-1]
        if len(call.shapes) == 1 or name.endswith(INPUT):
            return name
        number = call.main if index is None else index % len(call.shapes)
        return f'{name}[{number}]'

    def names(self, path: str) -> List[str]:
        """What the features are called that a module returned last."""
        return self._by_name[path][-1].names

    def listed(self) -> Dict[str, Layout]:
        """Sites that are outputs of composite modules, in the order in which
        these end, with their layouts."""
        modules = dict(self.network.named_modules())
        found = {}
        for call in self.calls:
            if not call.name or not modules[call.name]._modules:
                continue
            for i in range(len(call.shapes)):
                site = self.canonical(f'{call.name}[{i}]')
                try:
                    found[site] = self.layout(site)
                except ValueError:
                    continue
        return found

    def _that_run(self) -> Dict[str, None]:
        return dict.fromkeys(call.name for call in self.calls if call.name)

    def shape(self, site: str) -> Tuple[int, ...]:
        """The shape of the feature at a site, of a map (B, C, H, W)."""
        shape = self._shape(site)
        if self.channels_last(site):
            shape = shape[0], shape[3], *shape[1:3]
        return shape

    def _shape(self, site: str) -> Tuple[int, ...]:
        name, index = self.split(site)
        call = self._by_name[name][-1]
        return call.shapes[call.main if index is None else index]

    def channels_last(self, site: str) -> bool:
        """Whether the feature at a site is a map (B, H, W, C)."""
        return channels_last(
            self._shape(site), self.image_size, self._declares_channels_last)

    def layout(self, site: str) -> Layout:
        """The layout of the feature at a site.

        Raises:
            ValueError: If the feature is none that can be inherited.
        """
        try:
            return Layout.of(self.shape(site), self.image_size)
        except ValueError as error:
            raise ValueError(f'The {self.role}\'s "{site}" cannot be a site: '
                             f'{error}.') from None

    def first(self, sites: Iterable[str]) -> str:
        """The module, of those at some sites, that is finished first.

        A module is finished after those inside it.
        """
        return min((self.split(site)[0] for site in sites),
                   key=lambda name: self._by_name[name][0].end)

    def reusable(self, names: Iterable[str]) -> List[str]:
        """The largest of some modules whose outputs can be used again, in the
        order in which they run.

        Not those of one that something overwrites which will run again, such
        as an activation in place that a block uses twice.
        """
        names = set(names)

        def runs_again(overwriter):
            parts = overwriter.split('.')
            return not names.intersection('.'.join(parts[:i + 1])
                                          for i in range(len(parts)))

        def inside(call):
            around = call.around
            return around is not None and (around.name in names
                                           or inside(around))

        while lost := {
                name
                for name in names if any(
                    runs_again(overwriter) for call in self._by_name[name]
                    for overwriter in call.overwriters)
        }:
            names -= lost
        return [
            name for name in self._by_name
            if name in names and not all(map(inside, self._by_name[name]))
        ]

    def influence(self, sites: Iterable[str]) -> Dict[str, FrozenSet[str]]:
        """Which sites each module depends on.

        Args:
            sites (Iterable[str]): The sites.

        Returns:
            dict[str, frozenset[str]]: Module -> those of the sites whose
            feature, put in place of the module's own, makes a difference to
            what the module returns (of a site itself: would return), where
            the features at all the others are given too.
        """
        by_module: Dict[str, list] = {}
        for site in sites:
            name, index = self.split(site)
            by_module.setdefault(name, []).append((index, site))
        found: Dict[str, FrozenSet[str]] = {}
        influence = Influence()

        def seen(name, forward, *args, **kwargs):
            output = forward(*args, **kwargs)
            found[name] = influence.names(output).union(found.get(name, ()))
            for index, site in by_module.get(name, ()):
                marked = influence.mark(pick(output, index), site)
                output = put(output, marked, index)
            return output

        with influence:
            self._run(self.image, seen)
        return found

    def unaffected(self, sites: Iterable[str]) -> List[str]:
        """The modules that return the same whatever stands at some sites."""
        return [name for name, at in self.influence(sites).items() if not at]

    def decisive(self, sites: Sequence[str], at: str) -> List[str]:
        """Those of some sites whose feature still makes a difference where
        the features at the others are given.

        In a chain that is the last one; of parallel branches, each.

        Args:
            sites (Sequence[str]): The sites.
            at (str): Where the difference is looked for.
        """
        reached = self.influence(sites)[self.split(at)[0]]
        return [site for site in sites if site in reached]

    def before_activation(self, site: str) -> str:
        """The site of a module's feature before the activation that the
        module ends with; its output where it ends with none, or where it is
        one of several."""
        name, index = self.split(site)
        if index is not None:
            return site
        modules = dict(self.network.named_modules())
        around = self._by_name[name][-1]
        last = max(
            (call for call in self.calls if around.start < call.start
             and call.end < around.end and not modules[call.name]._modules),
            key=lambda call: call.end,
            default=around)
        ends_with_it = (
            isinstance(modules[last.name], ACTIVATIONS)
            and last.shapes == around.shapes)
        return last.name + INPUT if ends_with_it else name

    def givers(self, site: str) -> Iterator[str]:
        """The sites whose feature a module is given as it is: the outermost
        one, the one that this was given, and so on."""
        call = self._by_name[self.split(site)[0]][-1]
        while call.given_by is not None:
            call, given = call.given_by
            yield given

    def maker(self, site: str) -> str:
        """The innermost site that returned a module's first output."""
        call = self._by_name[self.split(site)[0]][-1]
        while call.returned_by is not None:
            call, site = call.returned_by
        return site

    def passed_on(self, path: str) -> List[str]:
        """The sites whose features a module returns as they are; none where
        it does not run."""
        calls = self._by_name.get(path)
        return calls[-1].passed_on if calls else []

    def runs(self, site: str) -> int:
        """How often a site's module runs in one forward pass."""
        return len(self._by_name[self.split(site)[0]])

    def top_level(self) -> List[str]:
        """The modules that the network itself calls, in that order."""
        return [
            call.name for call in self.calls
            if call.around is not None and not call.around.name
        ]

    def blocks(self, within: str, composite: bool = True) -> List[Call]:
        """The calls that a module itself makes of others, in the order in
        which they end.

        Args:
            within (str): Path of the module.
            composite (bool): Whether only modules are meant that hold others:
                single convolutions, norms and activations are no functional
                carriers. Defaults to True.
        """
        modules = dict(self.network.named_modules())
        return [
            call for call in self.calls
            if call.around is not None and call.around.name == within and (
                not composite or len(modules[call.name]._modules) > 0)
        ]

    def features(self, path: str) -> Dict[str, Layout]:
        """:meth:`maps` of a module's last call, none where it does not run."""
        calls = self._by_name.get(path)
        return self.maps(calls[-1]) if calls else {}

    def rows_given(self, path: str) -> Optional[int]:
        """Height of the map or grid that a module is given, None where it is
        given none."""
        try:
            layout = self.layout(f'{path}{INPUT}')
        except ValueError:
            return None
        return layout.grid and layout.grid[0]

    def maps(self, call: Call) -> Dict[str, Layout]:
        """Site -> layout of those outputs of a call that have positions."""
        layouts = {}
        # A pair may be two images (RAFT's), parts of images (TNT's pixels)
        # are none.
        images, channels = self.image.shape[:2]
        whole = images, images * max(1, channels // 3)
        for i, shape in enumerate(call.shapes):
            if not shape or shape[0] not in whole:
                continue
            site = call.name if i == call.main else f'{call.name}[{i}]'
            try:
                layout = self.layout(site)
            except ValueError:
                continue
            if layout.kind != 'vector':
                layouts[site] = layout
        return layouts
