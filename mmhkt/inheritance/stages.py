# Copyright (c) mmhkt authors. All rights reserved.
"""The stages of a network: which of its blocks make one, and how deep."""
import math
from dataclasses import dataclass
from typing import (Dict, Iterable, Iterator, List, Optional, Sequence, Set,
                    Tuple)

from torch import nn

from .declared import Declared, declared
from .dissection import Call, Dissection
from .layout import Layout


@dataclass(frozen=True)
class Stage:
    """A block of a network that can be a site, as a stage.

    Attributes:
        site (str): Its path.
        layout (Layout): Of its feature.
        depth (int): How often the resolution was halved before its end.
        rank (int): How deep it would be without dilation, which keeps the
            resolution where the next stage begins: one more than the stage
            before it, or ``depth`` if that is more.
    """
    site: str
    layout: Layout
    depth: int
    rank: int


# The part of the layers before the head that one call has to hold for the
# stages to be looked for in it: in `features` of a MobileNet, say, not in a
# ResNet's `layer3`. The second, where there are stages already.
MOST = 0.75
NEARLY_ALL = 0.9


class Trunk:
    """Where the stages of a network are, and what they are.

    The blocks are the composite modules that the trunk itself calls, one
    after another, down to the coarsest resolution: what is finer again after
    that is a decoder's (of a U-Net, say). The trunk is the dissection's
    ``backbone``, or what that wraps, however deep. Where composite modules
    make no stages (VGG, LeNet) the single layers are the blocks.

    What a network declares of itself comes in where the dry run sees less:
    see :mod:`mmhkt.inheritance.declared`.

    Args:
        dissection (Dissection): Of the network.

    Attributes:
        blocks (list[Stage]): All of them.
        stages (list[Stage]): The last block of each resolution; where
            dilation leaves several stages at the coarsest one, all of these;
            and what the trunk itself returns as its stages. Of a network
            whose blocks all have one resolution (a plain transformer) it is
            the last one alone, :attr:`plain`.
    """

    def __init__(self, dissection: Dissection):
        self.dissection = dissection
        self._modules = dict(dissection.network.named_modules())
        # From the outermost module to the one whose blocks are the stages.
        self.ways, sites = self._descend()
        self.declared = declared(self._modules[dissection.backbone])
        self.blocks = self._as_stages(self._opened(sites))
        self._heed()
        self.blocks = self._alike()
        self.stages = self._chosen()

    @property
    def plain(self) -> bool:
        """Whether all blocks have one resolution."""
        return len({block.depth for block in self.blocks}) == 1

    def evenly(self, count: int) -> List[Stage]:
        """Some of the stages, or of a plain network's blocks, evenly spaced,
        the last one among them."""
        of = self.blocks if self.plain else self.stages
        return [of[(i + 1) * len(of) // count - 1] for i in range(count)]

    # ----------------------------------------------------------- where it is

    def _descend(self) -> Tuple[List[str], List[Tuple[str, Layout]]]:
        ways = list(self._ways())
        choices = []
        for composite in (True, False):
            found = [self._features(path, composite) for path in ways]
            # Of equals the innermost.
            best = max(
                range(len(ways)),
                key=lambda i: (_levels(found[i]), len(found[i]), i))
            choices.append((ways[:best + 1], found[best]))
            if _levels(found[best]) > 1:
                return choices[-1]
        return choices[0]

    def _ways(self) -> Iterator[str]:
        path: Optional[str] = self.dissection.backbone
        while path is not None:
            yield path
            has_stages = _levels(self._features(path)) > 1
            least = NEARLY_ALL if has_stages else MOST
            calls = self.dissection.blocks(path)
            # Classifiers may be large, and a whole network return a vector.
            path = self._most(filter(self.dissection.maps, calls),
                              least) or self._most(calls, least)

    def _most(self, calls: Iterable[Call], share: float) -> Optional[str]:
        """The module that holds most of the layers of some."""
        layers = {
            call.name: _layers(self._modules[call.name])
            for call in calls
        }
        inner = max(layers, key=layers.__getitem__, default=None)
        every = sum(layers.values())
        return inner if every and layers[inner] > max(1, share *
                                                      every) else None

    def _features(self,
                  path: str,
                  composite: bool = True) -> List[Tuple[str, Layout]]:
        calls = [
            (call, _each_once(self.dissection.maps(call)))
            for call in self.dissection.blocks(path, composite)
            # What learns nothing is no stage: a pooling of timm's.
            if not composite or _learns(self._modules[call.name])
        ]
        calls = [(call, maps) for call, maps in calls if maps]
        coarsest = [max(v.stride for v in maps.values()) for _, maps in calls]
        bottom = coarsest.index(max(coarsest)) if calls else 0
        return list({
            site: layout
            for i, (_, maps) in enumerate(calls)
            if i <= bottom or coarsest[i] == coarsest[bottom]
            for site, layout in maps.items()
            # Pooled over all positions is no stage of layers.
            if composite or max(layout.grid) > 1
        }.items())

    def _opened(self, sites: Sequence[Tuple[str, Layout]]) -> list:
        """With the blocks inside a block that halves the resolution, where
        there are too few: fewer than the network says that it has, or just
        two, one of which halves it more than once."""
        levels = len(_heights(sites))
        if levels < self.declared.count:
            halved = 1
        elif levels == 2 and self.declared == Declared():
            halved = 2
        else:
            return list(sites)
        found = []
        for site, layout in sites:
            path = self.dissection.split(site)[0]
            rows = self.dissection.rows_given(path) or layout.grid[0]
            if round(math.log2(rows / layout.grid[0])) >= halved:
                found += [(inner, inside)
                          for inner, inside in self._features(path)
                          if inside.grid[0] > layout.grid[0]]
            found.append((site, layout))
        return found

    def _heed(self) -> None:
        """Take what the network declares as its stages, where what was found
        is coarser or goes on behind the last of them."""
        sites = [(site, layout) for path in self.declared.sites
                 for site, layout in self.dissection.features(path).items()
                 if site == path]
        if len(sites) < 2:
            return
        named = self._as_stages(sites)
        levels, depths = ({stage.depth
                           for stage in stages}
                          for stages in (named, self.blocks))
        if (len(levels) == 1 or not depths or max(depths) > max(levels)
                or len(depths) < len(levels) - 1):
            self.blocks = named

    def _alike(self) -> List[Stage]:
        """The blocks, of a plain network without what is of another kind than
        most of them: embeddings, attention of a class token."""
        kinds = [type(self._module(block.site)) for block in self.blocks]
        kind = max(kinds, key=kinds.count, default=None)
        if not self.plain or 2 * kinds.count(kind) <= len(kinds):
            return self.blocks
        return [b for b, k in zip(self.blocks, kinds) if k is kind]

    # ---------------------------------------------------------- what they are

    def _as_stages(self, sites: Sequence[Tuple[str, Layout]]) -> List[Stage]:
        heights = _heights(sites)
        # Single layers, such as a stem, are steps on the way.
        for path in self.ways:
            for call in self.dissection.blocks(path, composite=False):
                heights |= _heights(self.dissection.maps(call).items())
        depths = halvings(self.dissection.image_size[0], heights)
        return [
            Stage(site, layout, *2 * [depths[layout.grid[0]]])
            for site, layout in sites
        ]

    def _chosen(self) -> List[Stage]:
        last = {block.depth: block for block in self.blocks}
        chosen = {block.site for block in last.values()}
        if len(last) > 1:
            if not 0 < self.declared.count <= len(last):
                chosen.update(self._dilated())
            chosen.update(self._returned())
        stages = [block for block in self.blocks if block.site in chosen]
        stages.sort(key=lambda stage: stage.depth)  # of branches, by depth
        ranked: List[Stage] = []
        for stage in stages:
            rank = max(stage.depth, ranked[-1].rank + 1 if ranked else 0)
            ranked.append(Stage(stage.site, stage.layout, stage.depth, rank))
        return ranked

    def _dilated(self) -> List[str]:
        """Blocks at the coarsest resolution of the same kind as the last of
        them and directly before it, if there are so few that they are
        stages."""
        if len(self.blocks) > MOST_STAGES:
            return []
        deepest = max(block.depth for block in self.blocks)
        found: List[str] = []
        for block in reversed(self.blocks):
            if block.depth != deepest:
                continue
            if found and self._kind(block.site) != self._kind(found[0]):
                break
            found.append(block.site)
        return found

    def _module(self, site: str) -> nn.Module:
        return self._modules[self.dissection.split(site)[0]]

    def _kind(self, site: str) -> tuple:
        module = self._module(site)
        # A stage is made of blocks, a last convolution with its norm is not.
        return type(module), any(
            len(part._modules) > 0 for part in module.children())

    def _returned(self) -> List[str]:
        """Blocks whose features the trunk, or what wraps it, returns as they
        are."""
        sites = {block.site for block in self.blocks}
        return [
            site for path in self.ways if path
            for site in self.dissection.passed_on(path) if site in sites
        ]


def _heights(sites: Iterable[Tuple[str, Layout]]) -> Set[int]:
    return {layout.grid[0] for _, layout in sites}


# More blocks than this are no stages, but what stages are made of.
MOST_STAGES = 5


def halvings(size: int, rows: Iterable[int]) -> Dict[int, int]:
    """How often an image's height was halved before each of some heights.

    Sizes are followed from one to the next: rounding, and borders cut off by
    convolutions without padding, change each step a little, and a quotient of
    the image's size by much.

    Args:
        size (int): Height of the image.
        rows (Iterable[int]): Heights of features.

    Returns:
        dict[int, int]: Height -> number.

    Examples:
        >>> halvings(225, [57, 29, 15, 8])
        {57: 2, 29: 3, 15: 4, 8: 5}
        >>> halvings(299, [149, 147, 73, 71, 35, 17, 8])  # Inception
        {149: 1, 147: 1, 73: 2, 71: 2, 35: 3, 17: 4, 8: 5}
    """
    found = {}
    depth, reference = 0, size
    for height in sorted(set(rows), reverse=True):
        steps = round(math.log2(reference / height))
        if steps > 0:
            depth, reference = depth + steps, height
        found[height] = depth
    return found


def _levels(sites: Sequence[Tuple[str, Layout]]) -> int:
    """How many resolutions there are, of as many modules."""
    modules = {site.partition('[')[0] for site, _ in sites}
    return min(len(_heights(sites)), len(modules))


def _each_once(maps: Dict[str, Layout]) -> Dict[str, Layout]:
    """Of what one module returns each resolution once, and no class token
    beside patches."""
    found: Dict[tuple, str] = {}
    for site, layout in maps.items():
        if layout.grid not in found or not site.endswith(']'):
            found[layout.grid] = site
    if len(found) > 1:
        found.pop((1, 1), None)
    return {site: maps[site] for site in maps if site in found.values()}


def _learns(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _layers(module: nn.Module) -> int:
    return sum(
        isinstance(m, (nn.modules.conv._ConvNd, nn.Linear))
        for m in module.modules())
