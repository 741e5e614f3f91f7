# Copyright (c) mmhkt authors. All rights reserved.
"""What only training needs, in a checkpoint of the plain child.

What the methods learn lies under the key ``transfer``, with its part of the
optimiser's state and of the log history. The rest of the file is what a run of
the child alone would have written, so that it can be resumed without any
parent too: in the optimiser the child's groups come first, and the methods'
are further ones behind them.
"""
from typing import Dict, List

from mmhkt.models import Inheritance
from mmhkt.utils import nearest

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
        methods=[type(method).__name__ for method in inheritance.methods],
        state_dict={
            name: value.detach().cpu()
            for name, value in inheritance.transfer_state_dict().items()
        })
    if 'optimizer' in checkpoint:
        saved = checkpoint['optimizer']
        groups = saved['param_groups']
        own = len(groups) - bool(inheritance.transfer_parameters())
        numbers = {n for group in groups[:own] for n in group['params']}
        checkpoint['optimizer'], part['optimizer'] = ({
            **saved, 'state': {
                n: state
                for n, state in saved['state'].items()
                if (n in numbers) == childs
            },
            'param_groups': some
        } for childs, some in ((True, groups[:own]), (False, groups[own:])))
    if 'message_hub' in checkpoint:
        hub = checkpoint['message_hub'] = dict(checkpoint['message_hub'])
        part['message_hub'] = {}
        for section in ('log_scalars', 'resumed_keys'):
            ours = _names_of(inheritance, hub.get(section, ()))
            part['message_hub'][section] = {k: hub[section][k] for k in ours}
            hub[section] = {
                k: v
                for k, v in hub.get(section, {}).items() if k not in ours
            }
    checkpoint[KEY] = part


def put_back(checkpoint: dict, inheritance: Inheritance) -> None:
    """The inverse of :func:`set_aside`, for a run that is resumed.

    Loads the methods' weights and completes the optimiser's state and the
    log history in ``checkpoint``.

    Raises:
        ValueError: If the checkpoint was written by a run of other methods.
    """
    part = checkpoint.pop(KEY, None)
    methods = [type(method).__name__ for method in inheritance.methods]
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
    own = inheritance.transfer_state_dict()
    for name in list(own) + list(part['state_dict']):
        if name not in own or name not in part['state_dict'] or own[
                name].shape != part['state_dict'][name].shape:
            raise ValueError(
                f'This run cannot resume the checkpoint: "{name}" of what '
                'the methods learn is missing or of another shape on one '
                f'side; {nearest(name, part["state_dict"])}. Are sites and '
                'attention those of the interrupted run?')
    inheritance.methods.load_state_dict(part['state_dict'])
    if 'optimizer' in checkpoint:
        saved, aside = checkpoint['optimizer'], part['optimizer']
        checkpoint['optimizer'] = {
            **saved, 'state': {
                **saved['state'],
                **aside['state']
            },
            'param_groups': [*saved['param_groups'], *aside['param_groups']]
        }
    for section, ours in part.get('message_hub', {}).items():
        checkpoint['message_hub'][section].update(ours)


def _names_of(inheritance: Inheritance, names: Dict[str, object]) -> List[str]:
    prefixes = tuple(f'train/{m.name}.' for m in inheritance.methods)
    return [name for name in names if name.startswith(prefixes)]
