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
from .layout import Layout, features, pick, put
from .tape import INPUT

ACTIVATIONS = (nn.CELU, nn.ELU, nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.Mish,
               nn.PReLU, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.SiLU)


@dataclass
class Call:
    """One call of one module in a dry run.

    ``given_by`` and ``returned_by`` are the calls, with the site, that its
    first argument and its first output come from as they are, None where
    they come from no module. ``overwriters`` are modules in whose forward
    pass one of its outputs was written to.
    """
    name: str
    start: int
    around: Optional['Call']
    end: int = -1
    shapes: List[Tuple[int, ...]] = field(default_factory=list)
    given_by: Optional[Tuple['Call', str]] = None
    returned_by: Optional[Tuple['Call', str]] = None
    overwriters: Set[str] = field(default_factory=set)


class Dissection:
    """Which modules of a network run, in which order, with what shapes.

    Args:
        network (nn.Module): The network; its mode (training or not) and its
            buffers are left as they are.
        image (Tensor): A normalised image batch (B, 3, H, W).
        role (str): What errors call the network, ``'child'`` or
            ``'parent'``.
        backbone (str): Path of the module whose blocks are its stages.
            Defaults to ``'backbone'``.
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
        self._dry_run(image)

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
            given = features(args)
            call = Call(
                name,
                next(clock),
                around[-1] if around else None,
                given_by=maker(given))
            self._by_name.setdefault(name + INPUT, []).append(
                Call(name + INPUT, call.start, call.around, call.start,
                     [tuple(f.shape) for f in given]))
            around.append(call)
            output = forward(*args, **kwargs)
            around.pop()
            call.end = next(clock)
            returned = features(output)
            call.shapes = [tuple(f.shape) for f in returned]
            call.returned_by = maker(returned)
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
                f'The {self.role}, a {type(self.network).__name__}, cannot '
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
                several outputs (``'backbone[0]'``); ``'@in'`` behind it means
                the module's first argument.

        Returns:
            tuple[str, int | None]: The module's name as torch has it, and
            the number of the output (None: the last).

        Raises:
            ValueError: If there is no such module or output, or if it does
                not run; names the nearest that do.
        """
        if site not in self._split:
            self._split[site] = self._resolve(site)
        return self._split[site]

    def _resolve(self, site: str) -> Tuple[str, Optional[int]]:
        path, index, given = re.fullmatch(rf'(.*?)(?:\[(-?\d+)\])?({INPUT})?',
                                          site).groups()
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
        index = None if index is None else int(index)
        count = len(self._by_name[name][-1].shapes)
        if not -count <= (-1 if index is None else index) < count:
            raise ValueError(
                f'The {self.role}\'s module "{name}" returns {count} '
                f'feature(s), so that there is no "{site}".')
        return name, index

    def canonical(self, site: str) -> str:
        """A site's one spelling: names for indices, the output counted."""
        name, index = self.split(site)
        count = len(self._by_name[name][-1].shapes)
        if count == 1 or name.endswith(INPUT):
            return name
        return f'{name}[{(-1 if index is None else index) % count}]'

    def _that_run(self) -> Dict[str, None]:
        return dict.fromkeys(call.name for call in self.calls if call.name)

    def shape(self, site: str) -> Tuple[int, ...]:
        """The shape of the tensor at a site."""
        name, index = self.split(site)
        return self._by_name[name][-1].shapes[-1 if index is None else index]

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

    def runs(self, site: str) -> int:
        """How often a site's module runs in one forward pass."""
        return len(self._by_name[self.split(site)[0]])

    def top_level(self) -> List[str]:
        """The modules that the network itself calls, in that order."""
        return [
            call.name for call in self.calls
            if call.around is not None and not call.around.name
        ]

    def stages(self) -> Dict[str, Layout]:
        """The blocks that run one after another in the backbone.

        Returns:
            dict[str, Layout]: Site -> layout of its feature, in the order of
            the forward pass, of all composite modules (single convolutions,
            norms and activations are no functional carriers) that the
            backbone itself calls, down to its coarsest stride: what is finer
            again after that is a decoder's (of a U-Net, say).
        """
        modules = dict(self.network.named_modules())
        found = []
        for call in self.calls:
            if (call.around is not None and call.around.name == self.backbone
                    and len(modules[call.name]._modules) > 0):
                layouts = self._maps_of(call)
                if layouts:
                    found.append(layouts)
        coarsest = [
            max(v.stride for v in layouts.values()) for layouts in found
        ]
        bottom = coarsest.index(max(coarsest)) if found else 0
        return {
            site: layout
            for i, layouts in enumerate(found)
            if i <= bottom or coarsest[i] == coarsest[bottom]
            for site, layout in layouts.items()
        }

    def _maps_of(self, call: Call) -> Dict[str, Layout]:
        last = len(call.shapes) - 1
        layouts = {}
        for i in range(len(call.shapes)):
            site = call.name if i == last else f'{call.name}[{i}]'
            try:
                layout = self.layout(site)
            except ValueError:
                continue
            if layout.kind != 'vector':
                layouts[site] = layout
        return layouts
