# Copyright (c) mmhkt authors. All rights reserved.
"""Parameter schedulers for a training of another length."""
import math
import re
from typing import Any, Optional

from mmhkt.utils import type_name
from mmhkt.utils.config import ConfigError

# Of a scheduler, in the steps that it counts.
STEPS = ('begin', 'end', 'T_max', 'total_steps')
# From here on mmengine means "never".
NEVER = 10**8
WARM_UP = ('Linear', 'Constant', 'QuadraticWarmup')
# Part of an epoch in which a scheduler by iteration surely has some.
SOME = 0.25
# Those of OpenMMLab. ReduceOnPlateau counts validations, of which there are as
# many as before.
KNOWN = re.compile(
    rf'({"|".join(WARM_UP)}|CosineAnnealing|CosineRestart|Exponential|'
    'MultiStep|OneCycle|Poly|ReduceOnPlateau|Step)'
    '(LR|LRRatio|Momentum|ParamScheduler|WeightDecay)')


def scaled_schedulers(node: Any, factor: float, before: int, unit: str) -> Any:
    """A config's ``param_scheduler``, so that the same curve is gone through
    in another time.

    Args:
        node (dict | list): One, several, or those of several optimisers. Is
            changed.
        factor (float): How many times as long the training is.
        before (int): How long it was.
        unit (str): What that counts, ``'epoch'`` or ``'iter'``.

    Returns:
        dict | list | None: As it was given, without what has no step left.

    Raises:
        ConfigError: If there is one of which nothing is known here.
    """
    if isinstance(node, (list, tuple)):
        found = [scaled_schedulers(one, factor, before, unit) for one in node]
        return [one for one in found if one is not None]
    if 'type' not in node:
        return {
            key: scaled_schedulers(one, factor, before, unit)
            for key, one in node.items()
        }
    by_epoch = node.get('by_epoch', True)
    # One by iteration in a training of so many epochs has its own count.
    known = before if by_epoch == (unit == 'epoch') else None
    return _scaled(node, factor, known)


def scale(steps: float, factor: float, least: int = 1) -> int:
    """Steps of a training that is so many times as long, whole."""
    if steps >= NEVER:
        return int(steps)
    return max(least, round(steps * factor))


def _scaled(scheduler: dict, factor: float,
            length: Optional[int]) -> Optional[dict]:
    kind = type_name(scheduler)
    if not KNOWN.fullmatch(kind):
        raise ConfigError(
            f'comparison: how param_scheduler "{kind}" goes in a training of '
            'another length is not known; leave budgets and equal_cost out, '
            "or take one of mmengine's")
    before = begin = scheduler.get('begin', 0)
    end = scheduler.get('end')
    span = _span(begin, end, length)
    # A schedule that ends with its period does so however it is rounded.
    whole = [
        key for key in ('T_max', 'total_steps') if scheduler.get(key) == span
    ] if span else []
    if whole and end is None:
        scheduler['end'] = length
    for key in STEPS:
        if scheduler.get(key) is not None:
            least = int(key not in ('begin', 'end'))
            scheduler[key] = scale(scheduler[key], factor, least)
    by_step = scheduler.get('convert_to_iter_based', False)
    if by_step:  # which takes parts of an epoch
        for key, value in (('begin', begin), ('end', end)):
            if value and value < NEVER:
                scheduler[key] = value * factor
    if 'end' in scheduler:
        begin, end = scheduler.get('begin', 0), scheduler['end']
        # mmengine's have a first and a last step: in a single one they would
        # go to where they start, and stay there.
        least = SOME if by_step else 2
        if end - begin < least and kind.startswith(WARM_UP):
            return None
        if not by_step:
            scheduler['end'] = max(end, begin + 1)
        scheduler.update(dict.fromkeys(whole, scheduler['end'] - begin))
        if by_step and 'total_steps' in whole:
            del scheduler['total_steps']  # by itself from begin to end
    _scale_decays(scheduler, kind, factor, before, span, length)
    return scheduler


def _span(begin: float, end: Optional[float],
          length: Optional[int]) -> Optional[float]:
    """How many steps a scheduler has, None where that is not known."""
    ends = [one for one in (end, length) if one is not None and one < NEVER]
    return min(ends) - begin if ends else None


def _scale_decays(scheduler: dict, kind: str, factor: float, begin: float,
                  span: Optional[float], length: Optional[int]) -> None:
    """What happens at some steps or at each, as often as before."""
    after = span and _span(
        scheduler.get('begin', 0), scheduler.get('end'), length
        and scale(length, factor))

    def step(before: float) -> int:
        now = scale(before, factor)
        # One that came before the end still does.
        reached = span is not None and before < span
        return max(1, min(now, math.ceil(after) - 1) if reached else now)

    if kind.startswith('Exponential'):
        scheduler['gamma'] **= 1 / factor
    elif kind.startswith('MultiStep'):
        scheduler['milestones'] = [step(m) for m in scheduler['milestones']]
    elif kind.startswith('Step'):
        size = scheduler.pop('step_size')
        if span is None or math.isclose(size * factor, scale(size, factor)):
            scheduler['step_size'] = scale(size, factor)
        else:
            # Every so many steps, but no longer evenly.
            scheduler['type'] = f'mmengine.Multi{kind}'
            scheduler['milestones'] = [
                step(k * size) for k in range(1, math.ceil(span / size))
            ]
    elif kind.startswith('CosineRestart'):
        passed, periods = begin, []
        for period in scheduler['periods']:
            done = scale(passed, factor, 0)
            passed += period
            periods.append(max(1, scale(passed, factor) - done))
        scheduler['periods'] = periods
