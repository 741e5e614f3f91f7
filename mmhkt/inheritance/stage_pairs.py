# Copyright (c) mmhkt authors. All rights reserved.
"""Which stage of the child inherits from which of the parent."""
from typing import Iterable, List, Sequence, Tuple

from .stages import Stage, Trunk

Pair = Tuple[str, str]

# Of two plain transformers.
QUARTERS = 4


def pair_stages(child: Trunk, parent: Trunk) -> List[Pair]:
    """Pair the stages of two networks.

    Stages are paired in order, as many as the network with fewer of them has,
    so that the sum of what they differ in depth is least: first in rank, the
    number of their stage if nothing were dilated; then in how often the
    resolution was halved; then in where they stand among all stages of their
    network. Features of two resolutions are resized.

    A plain transformer has no stages of its own: as many of its blocks as the
    other has stages, evenly spaced, are paired in order; of two such networks
    quarters, as hierarchical networks have.

    Raises:
        ValueError: If one of them has no stages.
    """
    trunks = child, parent
    for trunk in trunks:
        if not trunk.blocks:
            role = trunk.dissection.role
            raise ValueError(
                f'The {role} ({type(trunk.dissection.network).__name__}) '
                'has no modules that run one after another on maps or tokens '
                'and could be its stages; type the sites (mmhkt pair --list '
                'shows what can be typed).')
    if child.plain or parent.plain:
        wanted = [len(t.stages) for t in trunks if not t.plain] or [QUARTERS]
        count = min(wanted + [len(t.blocks) for t in trunks if t.plain])
        return [(c.site, p.site)
                for c, p in zip(*(t.evenly(count) for t in trunks))]
    return [(c.site, p.site) for c, p in align(child.stages, parent.stages)]


def left_out(sites: Iterable[str], trunk: Trunk) -> List[Stage]:
    """The stages of a network that are none of these sites; of a plain one
    none is missing."""
    if trunk.plain:
        return []
    names = {trunk.dissection.canonical(site) for site in sites}
    return [
        stage for stage in trunk.stages
        if trunk.dissection.canonical(stage.site) not in names
    ]


def align(child: Sequence[Stage],
          parent: Sequence[Stage]) -> List[Tuple[Stage, Stage]]:
    """In order, as many as possible, as near as possible."""
    best = {}
    for i in range(len(child) + 1):
        for j in range(len(parent) + 1):
            if not i or not j:
                best[i, j] = (0, 0, 0, 0.0), []
                continue
            cost, pairs = best[i - 1, j - 1]
            distance = _distance(child, i - 1, parent, j - 1)
            both = (tuple(a + b for a, b in zip(cost, distance)),
                    [*pairs, (child[i - 1], parent[j - 1])])
            # Of equals the pair further up.
            best[i, j] = min(
                best[i - 1, j], best[i, j - 1], both, key=lambda way: way[0])
    return best[len(child), len(parent)][1]


def _distance(child: Sequence[Stage], i: int, parent: Sequence[Stage],
              j: int) -> tuple:
    place = (i + 1) / len(child) - (j + 1) / len(parent)
    return (-1, abs(child[i].rank - parent[j].rank),
            abs(child[i].depth - parent[j].depth), abs(place))
