# Copyright (c) mmhkt authors. All rights reserved.
"""The same training, longer or shorter."""
import math
import re
from typing import Any, List, Optional, Sequence, Tuple, Union

from mmengine.config import Config

from mmhkt.utils import type_name
from mmhkt.utils.config import ConfigError

# Of a parameter scheduler, in the steps that it counts.
STEPS = ('begin', 'end', 'T_max', 'T_0', 'total_steps', 'total_iters',
         'step_size', 'milestones', 'periods')
# From here on mmengine means "never".
NEVER = 10**8
WARM_UP = re.compile(r'(Linear|Constant)(LR|Momentum|ParamScheduler)$')
UNITS = dict(epoch='epoch', epochs='epoch', iter='iter', iters='iter')
# One and several of them, in words.
WORDS = dict(epoch=('epoch', 'epochs'), iter=('iteration', 'iterations'))


def length_of(cfg: Config) -> Tuple[int, str]:
    """How long a config trains, and in what it counts: ``'epoch'`` or
    ``'iter'``.

    Raises:
        ConfigError: If it does not say.
    """
    loop = cfg.train_cfg
    for key, unit in (('max_epochs', 'epoch'), ('max_iters', 'iter')):
        if isinstance(loop.get(key), int):
            return loop[key], unit
    raise ConfigError('comparison: budgets need train_cfg.max_epochs or '
                      'train_cfg.max_iters')


def steps_of(budget: Union[int, float, str], cfg: Config) -> int:
    """The length of a budget, in what the config counts.

    Args:
        budget (int | float | str): A multiple of the config's length, or
            ``'24 epochs'``, ``'3000 iters'``. The space may be missing:
            ``--cfg-options`` takes it out.
        cfg (Config): The config.

    Raises:
        ConfigError: If it is no budget, or of another unit.
    """
    length, unit = length_of(cfg)
    if isinstance(budget, str):
        found = re.fullmatch(r'(\d+) *([a-z]+)', budget.strip())
        if found is None or found[2] not in UNITS or int(found[1]) < 1:
            raise ConfigError(
                f"comparison: budget '{budget}' is none; write a multiple of "
                f"the config's {length} {unit}s, for instance 0.5 or 2, or "
                f"'{2 * length} {unit}s'")
        if UNITS[found[2]] != unit:
            raise ConfigError(f"comparison: budget '{budget}' for a config "
                              f'that counts {unit}s; it trains for {length}')
        return int(found[1])
    if (isinstance(budget, bool) or not isinstance(budget, (int, float))
            or not 0 < budget < math.inf):
        raise ConfigError(f'comparison: budget {budget!r} is no multiple of '
                          'the length of training')
    return max(1, round(budget * length))


def in_words(length: int, unit: str) -> str:
    """A length of training: ``'1 epoch'``, ``'3,000 iterations'``.

    Args:
        length (int): In epochs or iterations.
        unit (str): ``'epoch'`` or ``'iter'``.
    """
    return f'{length:,} {WORDS[unit][length != 1]}'


def name_of(budget: Union[int, float, str]) -> str:
    """Of its folder: ``'x0.5'``, ``'24_epochs'``."""
    if isinstance(budget, str):
        return re.sub(r'^(\d+) *', r'\1_', budget.strip())
    return f'x{budget:g}'


def scaled(cfg: Config, length: int) -> Config:
    """A config that trains for another length, with everything in it that
    counts steps: schedules of parameters and of methods, validations and
    checkpoints. Warm-up is a part of a schedule and is scaled too; one that
    has no two steps left in which to rise is left out.

    Args:
        cfg (Config): Is not changed.
        length (int): In the epochs or iterations that it counts.
    """
    before, unit = length_of(cfg)
    if length == before:
        return cfg
    factor = length / before
    cfg = Config(cfg.to_dict())
    loop = cfg.train_cfg
    loop[f'max_{unit}s'] = length
    for key in ('val_interval', 'val_begin'):
        if key in loop:
            loop[key] = _scale(loop[key], factor)
    if loop.get('dynamic_intervals'):
        loop.dynamic_intervals = [[
            _scale(begin, factor, 0),
            _scale(interval, factor)
        ] for begin, interval in loop.dynamic_intervals]
    if cfg.get('param_scheduler') is not None:
        cfg.param_scheduler = _scale_schedulers(cfg.param_scheduler, factor)
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    for key in ('interval', 'save_begin') if checkpoint else ():
        if checkpoint.get(key, -1) > 0:
            checkpoint[key] = _scale(checkpoint[key], factor)
    methods = cfg.get('method') or ()
    for method in [methods] if isinstance(methods, dict) else methods:
        if method.get('schedule'):
            method['schedule'] = scaled_schedule(method['schedule'], factor)
    return cfg


def scaled_schedule(schedule: Sequence[dict], factor: float) -> List[dict]:
    """A method's schedule, for a training that is so many times as long."""
    return [
        knob if knob.get('unit', 'run') == 'run' else {
            **knob,
            **{
                key: knob[key] * factor
                for key in ('begin', 'end') if knob.get(key)
            }
        } for knob in schedule
    ]


def _scale_schedulers(node: Any, factor: float) -> Any:
    if isinstance(node, (list, tuple)):
        found = [_scale_schedulers(one, factor) for one in node]
        return [one for one in found if one is not None]
    if 'type' in node:
        return _scale_scheduler(node, factor)
    # For each of several optimisers.
    return {key: _scale_schedulers(one, factor) for key, one in node.items()}


def _scale_scheduler(scheduler: dict, factor: float) -> Optional[dict]:
    begin, end = scheduler.get('begin', 0), scheduler.get('end')
    # A schedule that ends with its period does so however it is rounded.
    whole = [] if end is None else [
        key for key in ('T_max', 'total_iters')
        if scheduler.get(key) == end - begin
    ]
    for key in STEPS:
        value = scheduler.get(key)
        if isinstance(value, (list, tuple)):
            scheduler[key] = [_scale(step, factor) for step in value]
        elif value is not None:
            least = int(key not in ('begin', 'end'))
            scheduler[key] = _scale(value, factor, least)
    begin, end = scheduler.get('begin', 0), scheduler.get('end')
    if end is None:
        return scheduler
    # mmengine's have a first and a last step: in a single one they would go
    # to where they start, and stay there.
    least = 1 if scheduler.get('convert_to_iter_based') else 2
    if end - begin < least and WARM_UP.search(type_name(scheduler)):
        return None
    scheduler['end'] = max(end, begin + 1)
    scheduler.update(dict.fromkeys(whole, scheduler['end'] - begin))
    return scheduler


def _scale(steps: int, factor: float, least: int = 1) -> int:
    if steps >= NEVER:
        return steps
    return max(least, round(steps * factor))
