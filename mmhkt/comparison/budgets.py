# Copyright (c) mmhkt authors. All rights reserved.
"""The same training, longer or shorter."""
import math
import re
from typing import Any, List, Sequence, Tuple, Union

from mmengine.config import Config

from mmhkt.utils.config import ConfigError
from .schedulers import scale, scaled_schedulers

# Of a hook, what counts steps; how often it does something is no matter of
# the length.
STEPS = re.compile(r'\w+_(epoch|iter)s?')
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
    counts steps: schedules of parameters and of methods, validations,
    checkpoints and the steps at which hooks begin, act or end. Warm-up is a
    part of a schedule and is scaled too; one that has no two steps left in
    which to rise is left out.

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
            loop[key] = scale(loop[key], factor)
    if loop.get('dynamic_intervals'):
        loop.dynamic_intervals = [[
            scale(begin, factor, 0),
            scale(interval, factor)
        ] for begin, interval in loop.dynamic_intervals]
    if cfg.get('param_scheduler') is not None:
        cfg.param_scheduler = scaled_schedulers(cfg.param_scheduler, factor,
                                                before, unit)
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    for key in ('interval', 'save_begin') if checkpoint else ():
        if checkpoint.get(key, -1) > 0:
            checkpoint[key] = scale(checkpoint[key], factor)
    if cfg.get('custom_hooks'):
        cfg.custom_hooks = [
            _scale_hook(hook, factor) for hook in cfg.custom_hooks
        ]
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


def _scale_hook(node: Any, factor: float) -> Any:
    if isinstance(node, (list, tuple)):
        # What has a type of its own, as a transform, counts what it likes.
        return type(node)(
            one if isinstance(one, dict) and 'type' in one else _scale_hook(
                one, factor) for one in node)
    if not isinstance(node, dict):
        return node
    return {
        key:
        scale(value, factor) if STEPS.fullmatch(str(key))
        and type(value) is int and value > 0 else _scale_hook(value, factor)
        for key, value in node.items()
    }
