# Copyright (c) mmhkt authors. All rights reserved.
"""What only training needs, in a checkpoint of the plain child.

What the methods learn lies under the key ``transfer``, with its part of the
optimiser's state and of the log history. The rest of the file is what a run of
the child alone would have written, so that it can be resumed without any
parent too: in the optimiser the child's groups come first, and the methods'
are further ones behind them.
"""
from typing import Any, Dict, List, Optional

from torch import Tensor

from mmhkt.models import Inheritance
from mmhkt.utils.checkpoint import load_strictly
from mmhkt.utils.settings import check

KEY = 'transfer'
# Of what lies there; 1 had no number.
FORMAT = 2


def set_aside(checkpoint: dict, inheritance: Inheritance) -> None:
    """Move what only training needs to a key of its own.

    Args:
        checkpoint (dict): As mmengine's Runner is about to write it; changed
            in place.
        inheritance (Inheritance): What the child is trained with.
    """
    part = dict(
        format=FORMAT,
        methods=_names(inheritance),
        state_dict={
            name: value.detach().cpu()
            for name, value in inheritance.transfer_state_dict().items()
        })
    if 'optimizer' in checkpoint:
        saved = checkpoint['optimizer']
        own = len(saved['param_groups']) - bool(
            inheritance.transfer_parameters())
        checkpoint['optimizer'] = _of_groups(saved, slice(own))
        part['optimizer'] = _of_groups(saved, slice(own, None))
    if 'message_hub' in checkpoint:
        hub = checkpoint['message_hub'] = dict(checkpoint['message_hub'])
        part['message_hub'] = {}
        prefixes = tuple(f'train/{m.name}.' for m in inheritance.methods)
        for section in ('log_scalars', 'resumed_keys'):
            ours = part['message_hub'][section] = {}
            childs = {}
            for name, value in hub.get(section, {}).items():
                (ours if name.startswith(prefixes) else childs)[name] = value
            hub[section] = childs
    checkpoint[KEY] = part


def optimizer_fields(state: dict, param_groups: List[dict]) -> None:
    """What torch's optimisers save."""


def fields(methods: List[str],
           state_dict: Dict[str, Tensor],
           format: int = 1,
           optimizer: Optional[dict] = None,
           message_hub: Optional[Dict[str, dict]] = None) -> None:
    """What lies there."""


def put_back(checkpoint: dict, inheritance: Inheritance) -> None:
    """The inverse of :func:`set_aside`, for a run that is resumed.

    Loads the methods' weights and completes the optimiser's state and the
    log history in ``checkpoint``.

    Raises:
        ValueError: If the checkpoint was written by a run of other methods.
    """
    part = checkpoint.pop(KEY, None)
    if part is not None:
        check(
            fields,
            part,
            f'what lies under "{KEY}" in the checkpoint',
            more=True)
    methods = _names(inheritance)
    if part is None or part['methods'] != methods:
        written = part['methods'] if part else 'a child without mmhkt'
        raise ValueError(
            f'This run of {methods} cannot resume a checkpoint of {written}. '
            'To start from its weights, give it as load_from instead.')
    if part.get('format') != FORMAT and part['state_dict']:
        raise ValueError(
            'The checkpoint was written by another version of mmhkt, whose '
            f'{", ".join(methods)} kept what only training needs in another '
            'way, so that the run cannot be resumed. To start from its '
            'weights, give it as load_from instead.')
    load_strictly(
        inheritance.methods, part['state_dict'],
        'What the methods learn (are sites and attention those of the '
        'interrupted run?)')
    if 'optimizer' in checkpoint:
        saved, aside = checkpoint['optimizer'], part.get('optimizer')
        for state in (saved, aside):
            check(
                optimizer_fields,
                state,
                'the optimiser in the checkpoint',
                more=True)
        saved['state'].update(aside['state'])
        saved['param_groups'] += aside['param_groups']
    for section, ours in (part.get('message_hub') or {}).items():
        checkpoint['message_hub'].setdefault(section, {}).update(ours)


def _names(inheritance: Inheritance) -> List[str]:
    return [type(method).__name__ for method in inheritance.methods]


def _of_groups(optimizer: dict, which: slice) -> Dict[str, Any]:
    """The part of an optimiser's state that belongs to some groups."""
    groups = optimizer['param_groups'][which]
    numbers = {number for group in groups for number in group['params']}
    state = {n: of for n, of in optimizer['state'].items() if n in numbers}
    return {**optimizer, 'state': state, 'param_groups': groups}
