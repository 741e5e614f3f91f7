# Copyright (c) mmhkt authors. All rights reserved.
from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence, Union

from mmhkt.utils import nearest
from .extraction import Extraction
from .layout import Layout
from .stage_pairs import pair_stages


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
            - ``'stages'``: the backbones' stages, in order and by depth, see
              :func:`pair_stages`;
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
            f'No feature enters the head of the {network.dissection.role} '
            f'({type(network.network).__name__}) from a module of its own; '
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
    return pair_stages(child.trunk, parent.trunk)


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
    for network in (child, parent):
        if network.logits_site is None:
            raise ValueError(
                f'The {network.dissection.role} '
                f'({type(network.network).__name__}) has no logits of its '
                'own, or several (one for each task, or a tuple of which none '
                'is called "logits", as in a named tuple or a dict it can '
                'be), so that there are none to compare; type the sites, or '
                'take a method that compares features.')
    return [(child.logits_site, parent.logits_site)]


def _dense(child: Extraction, parent: Extraction) -> List[tuple]:
    if child.logits_site is not None and parent.logits_site is not None and (
            child.dissection.layout(child.logits_site).kind == 'map'):
        return _logits(child, parent)
    return _last(child, parent)


# Those of which every stage of the child should have one beside it.
EVERY_STAGE = ('stages', 'all', 'preactivations', 'review')

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
