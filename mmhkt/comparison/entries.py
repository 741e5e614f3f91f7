# Copyright (c) mmhkt authors. All rights reserved.
"""The rows of a comparison: named methods, each with a whole config."""
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from mmengine.config import Config

from mmhkt.registry import METHODS
from mmhkt.utils import few, type_name
from mmhkt.utils.config import ConfigError, flat, plain

ALONE = 'mmhkt.Alone'
RUNNER = 'mmhkt.InheritanceRunner'
PARENT = 'parent'  # the folder of the parent's run
# Of a dataloader: they change no batch.
HARMLESS = ('num_workers', 'persistent_workers', 'pin_memory',
            'prefetch_factor')
# What has to be the same in all configs, and what that decides.
COMPARED = dict(
    model='children',
    data_preprocessor='images',
    train_dataloader='images',
    val_dataloader='validations',
    val_evaluator='validations')
# What each config may have of its own, though then a difference is not of the
# method alone.
RECIPE = ('train_cfg', 'optim_wrapper', 'param_scheduler', 'custom_hooks',
          'auto_scale_lr')
# What else lies beside the folders of methods, whatever the case.
TAKEN = re.compile(rf'{PARENT}(\.py)?|comparison\..*|costs\..*', re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One row of the comparison: a method, trained once a seed."""
    name: str  # of its folder
    label: str  # in the table
    cfg: Config


def entries_of_methods(methods, cfg: Config) -> List[Entry]:
    """One config with each of several methods.

    Args:
        methods (list | dict | str): As in ``comparison``.
        cfg (Config): The rest.

    Raises:
        ConfigError: If they are no methods, or cannot be told apart.
    """
    if cfg.get('runner_type') is None:
        raise ConfigError('comparison: its methods need a config with '
                          f"runner_type='{RUNNER}'")
    if isinstance(methods, str) and methods == 'all':
        METHODS.import_from_location()
        methods = [f'mmhkt.{name}' for name in METHODS.module_dict]
    named = _named(methods)
    if not any(map(is_alone, (method for _, method in named.values()))):
        if 'alone' in named:
            raise ConfigError(
                f'comparison: "alone" has to be {ALONE}, but is another method'
            )
        named = {'alone': ('Alone', dict(type=ALONE)), **named}
    entries = []
    for name, (label, method) in named.items():
        if not re.fullmatch(r'\w[\w.+-]{0,99}', name) or TAKEN.fullmatch(name):
            raise ConfigError(f'comparison: "{name}" cannot be the name of a '
                              'method, because it names a folder too')
        entries.append(
            Entry(name, label, Config({
                **cfg.to_dict(), 'method': method
            })))
    return entries


def entries_of_configs(paths: Sequence[str],
                       cfgs: Sequence[Config]) -> List[Entry]:
    """Several configs, each with a method of its own.

    Args:
        paths (Sequence[str]): Of their files, by which they are named.
        cfgs (Sequence[Config]): What is in them.

    Raises:
        ConfigError: If they cannot be told apart.
    """
    entries = []
    for path, cfg in zip(paths, cfgs):
        if 'comparison' in cfg:
            raise ConfigError(f'{path} is a comparison; give either one such '
                              'config or several training configs')
        name = Path(path).stem
        entries.append(Entry(name, name, _with_our_runner(path, cfg)))
    twice = [n for n, i in Counter(e.name for e in entries).items() if i > 1]
    if twice:
        raise ConfigError(f'several configs are called {twice[0]}')
    return entries


def _with_our_runner(path: str, cfg: Config) -> Config:
    """A config whose initial weights and batches depend on the seed alone:
    one of OpenMMLab's is the child alone."""
    runner, method = cfg.get('runner_type'), cfg.get('method')
    ours = str(runner).rpartition('.')[2] == RUNNER.rpartition('.')[2]
    if runner in (None, 'Runner'):
        if method is not None:
            raise ConfigError(f'{path} has a method, but no runner that knows '
                              f"it; add runner_type = '{RUNNER}'")
        cfg = Config(cfg.to_dict())
        cfg.runner_type, cfg.method = RUNNER, dict(type=ALONE)
    elif not ours:
        raise ConfigError(
            f'{path}: runs by {runner} do not begin from the same weights and '
            f"batches as others; set runner_type = '{RUNNER}' and "
            f"method = dict(type='{ALONE}')")
    elif method is None:
        raise ConfigError(f'{path} has no method; for the child alone add '
                          f"method = dict(type='{ALONE}')")
    return cfg


def check_comparable(entries: Sequence[Entry]) -> None:
    """Make sure that configs train one child on the same batches and score it
    alike, before anything is trained: else their runs could not stand in one
    table.

    Raises:
        ConfigError: If not; names where they differ.
    """
    first = entries[0]
    for entry in entries[1:]:
        for name, what in COMPARED.items():
            wrong = [
                key for key in _different(first, entry, name)
                if key.split('.')[1:2] not in (
                    [k]
                    for k in HARMLESS) and key != 'val_dataloader.batch_size'
            ]
            if wrong:
                raise ConfigError(
                    f'{first.name} and {entry.name} have different {what}: '
                    f'{few(wrong, 6)}. A comparison is of methods, for one '
                    'child on the same batches, scored alike')


def other_recipes(entries: Sequence[Entry]) -> Dict[str, List[str]]:
    """Label -> in what an entry is trained otherwise than the first one."""
    found = {
        entry.label: [
            key for name in RECIPE
            for key in _different(entries[0], entry, name)
        ]
        for entry in entries[1:]
    }
    return {label: keys for label, keys in found.items() if keys}


def _different(one: Entry, other: Entry, name: str) -> List[str]:
    """The paths in a part of two configs at which they differ."""
    ones, others = (
        flat(plain(e.cfg.get(name)), f'{name}.') for e in (one, other))
    return sorted(key for key in {
        **ones,
        **others
    } if ones.get(key, '') != others.get(key, ''))


def _named(methods) -> Dict[str, Tuple[str, Any]]:
    """Name -> label and method."""
    if isinstance(methods, dict) and 'type' not in methods:
        return {str(k): (str(k), _method(v)) for k, v in methods.items()}
    if isinstance(methods, (list, tuple)):
        listed = [_method(method) for method in methods]
        names = ['+'.join(kinds(method)).lower() for method in listed]
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise ConfigError(
                f'comparison: {twice[0]} is listed twice; write methods as a '
                f'dict that names each: dict({twice[0].replace("+", "_")}'
                '=..., another_name=...)')
        return {
            name: (' + '.join(kinds(method)), method)
            for name, method in zip(names, listed)
        }
    raise ConfigError('comparison: methods must be a list, a dict name -> '
                      f"method, or 'all', but got {methods!r}")


def kinds(method) -> List[str]:
    """The names of a method's classes, without the scope."""
    return [
        type_name(one)
        for one in ([method] if isinstance(method, dict) else method)
    ]


def _method(given, several: bool = True):
    if isinstance(given, str):
        return dict(type=given)
    if several and isinstance(given, (list, tuple)) and given:
        return [_method(one, several=False) for one in given]
    if isinstance(given, dict) and 'type' in given:
        return dict(given)
    raise ConfigError(f'comparison: {given!r} is no method; write it as '
                      "'mmhkt.HKT', dict(type='mmhkt.HKT', ...) or a list of "
                      'such')


def is_alone(method) -> bool:
    """Whether a method is none: the child is trained alone."""
    return method is not None and kinds(method) == ['Alone']
