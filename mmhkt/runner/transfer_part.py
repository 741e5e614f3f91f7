# Copyright (c) mmhkt authors. All rights reserved.
"""Divides a checkpoint into the plain child's and what only training needs.

What the methods learn lies under the key ``transfer``, with its part of the
optimiser's state and of the log history. The rest of the file is what a run of
the child alone would have written, down to the optimiser's numbering, so that
it can be resumed without any parent too.
"""
from typing import Dict, List, Tuple

from torch.optim import Optimizer

from mmhkt.models import HereditaryModel
from mmhkt.utils import nearest

KEY = 'transfer'


def set_aside(checkpoint: dict, model: HereditaryModel,
              optimizer: Optimizer) -> None:
    """Move what only training needs to a key of its own.

    Args:
        checkpoint (dict): As mmengine's Runner is about to write it; changed
            in place.
        model (HereditaryModel): What is trained.
        optimizer (Optimizer): Its optimiser.
    """
    part = dict(
        methods=[type(method).__name__ for method in model.methods],
        state_dict={
            name: value.detach().cpu()
            for name, value in model.transfer_state_dict().items()
        })
    if 'optimizer' in checkpoint:
        child, transfer = _numbers(model, optimizer)
        saved = checkpoint['optimizer']
        part['optimizer'] = _part(saved, transfer, without=child)
        checkpoint['optimizer'] = {**saved, **_part(saved, child)}
    if 'message_hub' in checkpoint:
        hub = checkpoint['message_hub'] = dict(checkpoint['message_hub'])
        part['message_hub'] = {}
        for section in ('log_scalars', 'resumed_keys'):
            ours = _names_of(model, hub.get(section, ()))
            part['message_hub'][section] = {k: hub[section][k] for k in ours}
            hub[section] = {
                k: v
                for k, v in hub.get(section, {}).items() if k not in ours
            }
    checkpoint[KEY] = part


def put_back(checkpoint: dict, model: HereditaryModel,
             optimizer: Optimizer) -> None:
    """The inverse of :func:`set_aside`, for a run that is resumed.

    Loads the methods' weights and completes the optimiser's state and the
    log history in ``checkpoint``.

    Raises:
        ValueError: If the checkpoint was written by a run of other methods.
    """
    part = checkpoint.pop(KEY, None)
    methods = [type(method).__name__ for method in model.methods]
    if part is None or part['methods'] != methods:
        written = part['methods'] if part else 'a child without mmhkt'
        raise ValueError(
            f'This run of {methods} cannot resume a checkpoint of {written}. '
            'To start from its weights, give it as load_from instead.')
    own = model.transfer_state_dict()
    for name in list(own) + list(part['state_dict']):
        if name not in own or name not in part['state_dict'] or own[
                name].shape != part['state_dict'][name].shape:
            raise ValueError(
                f'This run cannot resume the checkpoint: "{name}" of what '
                'the methods learn is missing or of another shape on one '
                f'side; {nearest(name, part["state_dict"])}. Are sites and '
                'attention those of the interrupted run?')
    model.methods.load_state_dict(part['state_dict'])
    if 'optimizer' in checkpoint:
        child, transfer = _numbers(model, optimizer)
        saved, aside = checkpoint['optimizer'], part['optimizer']
        state = {child[i]: s for i, s in saved['state'].items()}
        state.update({transfer[i]: s for i, s in aside['state'].items()})
        own_groups, aside_groups = iter(saved['param_groups']), iter(
            aside['param_groups'])
        groups = []
        for group in optimizer.state_dict()['param_groups']:
            source = own_groups if set(
                group['params']) & set(child) else aside_groups
            groups.append({**next(source), 'params': group['params']})
        checkpoint['optimizer'] = {
            **saved, 'state': state,
            'param_groups': groups
        }
    for section, ours in part.get('message_hub', {}).items():
        checkpoint['message_hub'][section].update(ours)


def _numbers(model: HereditaryModel,
             optimizer: Optimizer) -> Tuple[List[int], List[int]]:
    """The optimiser's numbers of the child's and the other parameters."""
    extra = {id(p) for p in model.transfer_parameters()}
    parameters = [p for g in optimizer.param_groups for p in g['params']]
    numbers: Tuple[List[int], List[int]] = [], []
    for number, parameter in enumerate(parameters):
        numbers[id(parameter) in extra].append(number)
    return numbers


def _part(saved: dict, numbers: List[int], without=()) -> dict:
    """An optimiser's state for some parameters, numbered anew; leaves out
    groups that hold any of ``without``."""
    new = {number: i for i, number in enumerate(numbers)}
    groups = [{
        **group, 'params': [new[n] for n in group['params'] if n in new]
    } for group in saved['param_groups']
              if not set(group['params']) & set(without)]
    return dict(
        state={
            new[n]: state
            for n, state in saved['state'].items() if n in new
        },
        param_groups=[group for group in groups if group['params']])


def _names_of(model: HereditaryModel, names: Dict[str, object]) -> List[str]:
    prefixes = tuple(f'train/{method.name}.' for method in model.methods)
    return [name for name in names if name.startswith(prefixes)]
