# Copyright (c) mmhkt authors. All rights reserved.
from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence, Union

from mmhkt.utils import nearest
from .dissection import Dissection
from .extraction import Extraction
from .layout import Layout


@dataclass(frozen=True)
class Site:
    """A place where the child inherits.

    Attributes:
        child (str): Path of the child's module.
        parent (str): Path of the parent's module.
        child_layout (Layout): Of the child's feature.
        parent_layout (Layout): Of the parent's feature.
    """
    child: str
    parent: str
    child_layout: Layout
    parent_layout: Layout


def find_sites(sites: Union[str, Sequence[dict]], child: Extraction,
               parent: Extraction) -> List[Site]:
    """Pair the layers of child and parent.

    Args:
        sites (str | Sequence[dict]): A name in :data:`PRESETS`, one that
            networks of this kind have presets for, or a list of
            ``dict(child='module.path', parent='module.path')``. A path may
            end with ``'@in'``, for what the module is given.

            - ``'head'``: the feature that the heads are given;
            - ``'stages'``: the backbones' stages, paired by stride and order;
            - ``'all'``: both of these;
            - ``'middle'``, ``'last'``: one of the stages;
            - ``'preactivations'``: the stages before the activation that
              they end with, if they do;
            - ``'review'``: as ``'all'``, but the parent's stages before that
              activation;
            - ``'logits'``: what the heads return;
            - ``'dense'``: the logits where they are maps, else the last
              stage.
        child (Extraction): Of the child.
        parent (Extraction): Of the parent.

    Raises:
        ValueError: If a path does not exist, a preset is unknown or nothing
            can be paired.
        TypeError: If ``sites`` is neither.
    """
    if isinstance(sites, str):
        own = [name for name in child.presets if name in parent.presets]
        if sites in own:
            pairs = list(zip(child.presets[sites], parent.presets[sites]))
        elif sites in PRESETS:
            pairs = PRESETS[sites](child, parent)
        else:
            raise ValueError(f'sites="{sites}" is unknown; '
                             f'{nearest(sites, [*own, *PRESETS])}, or a list '
                             "of dict(child='path', parent='path').")
    else:
        if not isinstance(sites, (list, tuple)):
            raise TypeError("sites is a name or a list of dict(child='path', "
                            f"parent='path'), but got {sites!r}.")
        pairs = [_typed(site) for site in sites]
        if not pairs:
            raise ValueError('sites is an empty list; leave it out to have '
                             'the sites found.')
    return [
        Site(c, p, child.dissection.layout(c), parent.dissection.layout(p))
        for c, p in dict.fromkeys(pairs)
    ]


def _head(network: Extraction) -> Sequence[str]:
    if 'head' in network.presets:
        return network.presets['head']
    if network.head_site is None:
        raise ValueError(
            f'No feature enters the head of the {network.dissection.role}, a '
            f'{type(network.network).__name__}, from a module of its own; '
            'type the sites.')
    return [network.head_site]


def _typed(site: dict) -> tuple:
    if not isinstance(site, dict) or set(site) != {'child', 'parent'}:
        raise TypeError("A site is dict(child='module.path', "
                        f"parent='module.path'), but got {site!r}.")
    return site['child'], site['parent']


def _heads(child: Extraction, parent: Extraction) -> List[tuple]:
    return list(zip(_head(child), _head(parent)))


def _stages(child: Extraction, parent: Extraction) -> List[tuple]:
    return pair_stages(child.dissection, parent.dissection)


def _all(child: Extraction, parent: Extraction) -> List[tuple]:
    return _stages(child, parent) + _heads(child, parent)


def _middle(child: Extraction, parent: Extraction) -> List[tuple]:
    pairs = _stages(child, parent)
    return [pairs[(len(pairs) - 1) // 2]]


def _last(child: Extraction, parent: Extraction) -> List[tuple]:
    return _stages(child, parent)[-1:]


def _preactivations(child: Extraction, parent: Extraction) -> List[tuple]:
    return [(child.dissection.before_activation(c),
             parent.dissection.before_activation(p))
            for c, p in _stages(child, parent)]


def _review(child: Extraction, parent: Extraction) -> List[tuple]:
    return [(c, parent.dissection.before_activation(p))
            for c, p in _stages(child, parent)] + _heads(child, parent)


def _logits(child: Extraction, parent: Extraction) -> List[tuple]:
    return [(child.logits_site, parent.logits_site)]


def _dense(child: Extraction, parent: Extraction) -> List[tuple]:
    if child.dissection.layout(child.logits_site).kind == 'map':
        return _logits(child, parent)
    return _last(child, parent)


# What `sites` may say instead of a list.
PRESETS: Dict[str, Callable[[Extraction, Extraction], List[tuple]]] = dict(
    head=_heads,
    stages=_stages,
    all=_all,
    middle=_middle,
    last=_last,
    preactivations=_preactivations,
    review=_review,
    logits=_logits,
    dense=_dense)

# More blocks than this are no stages, but what stages are made of.
MOST_STAGES = 5


def pair_stages(child: Dissection, parent: Dissection) -> List[tuple]:
    """Pair the backbones' stages.

    The last block at each stride makes a stage; stages of one stride are
    paired. Where dilation leaves several stages at one stride, and both
    networks end with the same, those of one name are paired, ``layer1`` to
    ``layer4`` say. A backbone whose blocks all have one stride (a plain
    transformer) has no stages of its own: as many of its blocks as the other
    has stages, evenly spaced, are paired in order.

    Raises:
        ValueError: If no two stages belong together.
    """
    blocks = [d.stages() for d in (child, parent)]
    stages = [_by_stride(part) for part in blocks]
    counts = [len(by_stride) for by_stride in stages]
    if not all(counts):
        role = child.role if not counts[0] else parent.role
        raise ValueError(f'The {role} has no module "backbone" with stages '
                         'that could be paired; type the sites.')
    if min(counts) == 1:
        # Two plain transformers: quarters, as hierarchical networks have.
        count = max(counts) if max(counts) > 1 else 4
        count = min(count, *map(len, blocks))
        return list(
            zip(*(_evenly(s, d, count)
                  for s, d in zip(stages, (child, parent)))))
    child_named, parent_named = (_dilated(part) for part in blocks)
    if (counts != [len(child_named), len(parent_named)]
            and list(child_named)[-1] == list(parent_named)[-1]
            and max(map(len, blocks)) <= MOST_STAGES):
        return [(name, parent_named[key]) for key, name in child_named.items()
                if key in parent_named]
    pairs = [(name, stages[1][stride]) for stride, name in stages[0].items()
             if stride in stages[1]]
    if not pairs:
        raise ValueError(
            f"The child's stages have strides {sorted(stages[0])}, the "
            f"parent's {sorted(stages[1])}: none in common; type the sites.")
    return pairs


def _by_stride(stages: Dict[str, Layout]) -> Dict[float, str]:
    return {layout.stride: name for name, layout in stages.items()}


def _dilated(stages: Dict[str, Layout]) -> Dict[str, str]:
    """By their own names: of the coarsest stride all, else the last."""
    strides = [layout.stride for layout in stages.values()]
    return {
        name.rpartition('.')[2]: name
        for i, name in enumerate(stages)
        if strides[i] == max(strides) or strides[i] not in strides[i + 1:]
    }


def _evenly(by_stride: Dict[float, str], dissection: Dissection,
            count: int) -> List[str]:
    blocks = list(dissection.stages() if len(by_stride) ==
                  1 else by_stride.values())
    return [blocks[(i + 1) * len(blocks) // count - 1] for i in range(count)]
