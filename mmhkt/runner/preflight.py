# Copyright (c) mmhkt authors. All rights reserved.
"""What is cheap to check, before anything dear is done."""
import inspect
from pathlib import Path
from typing import Literal, Optional, Sequence, Union

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS as MMENGINE_HOOKS

from mmhkt.models import Parent
from mmhkt.registry import HOOKS
from mmhkt.utils import nearest
from mmhkt.utils.checkpoint import existing
from mmhkt.utils.config import is_ours
from mmhkt.utils.registered import found_in
from mmhkt.utils.settings import (Many, Name, ReviseKeys, SettingError, check,
                                  name_of, settings_of, shown)
from .inheritance_runner import HOOKS_OF_OURS, build_methods


def run_settings(parent: Optional[dict] = None,
                 method: Union[dict, Many, None] = None,
                 task: Optional[dict] = None,
                 memory_format: Optional[Literal['channels_last']] = None,
                 revise_keys: Optional[ReviseKeys] = None,
                 trusted: bool = False,
                 default_hooks: Optional[dict] = None,
                 custom_hooks: Optional[Many] = None,
                 load_from: Optional[Name] = None,
                 resume: Union[bool, Literal['auto']] = False,
                 work_dir: Optional[Name] = None) -> None:
    """What a config of :class:`mmhkt.runner.InheritanceRunner` has beside
    the usual keys, and of those what is looked at here."""


def loader_settings(on_device: bool = False) -> None:
    """What a data loader has beside the usual keys: whether all its images
    are kept on the device, see :class:`mmhkt.datasets.BatchedLoader`."""


def preflight(cfg: Config, parent_there: bool = True) -> None:
    """Check what a training would stumble upon later: settings of methods,
    parent, task and hooks, and whether files are there.

    No data is read, no network built and nothing logged.

    Args:
        cfg (Config): Of a run.
        parent_there (bool): Whether the parent's checkpoint has to be there.
            Defaults to True.

    Raises:
        SettingError: Names the setting, its value, what was expected and the
            nearest valid name.
        FileNotFoundError: If a checkpoint is not there.
    """
    if not is_ours(cfg):
        return
    check(run_settings,
          {key: cfg[key]
           for key in settings_of(run_settings) if key in cfg}, 'the config')
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name) or {}
        if 'on_device' in loader:
            check(loader_settings, dict(on_device=loader['on_device']), name)
    methods = build_methods(cfg.get('method'))
    if any(method.needs_parent for method in methods):
        Parent.check(cfg.get('parent'), parent_there)
    elif cfg.get('parent'):
        check(Parent, cfg.parent, 'parent')
    check_hooks(
        cfg.get('default_hooks'), cfg.get('custom_hooks'),
        cfg.get('default_scope'))
    if cfg.get('load_from') is not None:
        existing(cfg.load_from)
    work_dir = cfg.get('work_dir')
    if work_dir is not None and Path(work_dir).is_file():
        raise SettingError(f'work_dir "{work_dir}" is a file.')


def check_hooks(default: Optional[dict],
                custom: Optional[Sequence],
                scope: Optional[str] = None) -> None:
    """Check the settings of hooks.

    Args:
        default (dict, optional): A config's ``default_hooks``.
        custom (Sequence[dict], optional): Its ``custom_hooks``.
        scope (str, optional): Where names without a scope are looked up, its
            ``default_scope``. Defaults to None, mmengine.

    Raises:
        SettingError: If there is no such hook, or no such setting.
    """
    hooks = {
        f'default_hooks.{key}': (key, hook)
        for key, hook in (default or {}).items() if key != '_scope_'
    }
    hooks.update((f'custom_hooks[{i}]', (None, hook))
                 for i, hook in enumerate(custom or ()))
    for where, (key, hook) in hooks.items():
        if isinstance(hook, Hook) or hook is None and key is not None:
            continue
        if not isinstance(hook, dict):
            raise SettingError(f'{where} must be a dict, but got '
                               f'{shown(hook)}.')
        settings = {
            k: v
            for k, v in hook.items()
            if k not in ('type', 'priority', '_scope_')
        }
        kind = hook.get('type', HOOKS_OF_OURS.get(key))
        if kind is None:
            raise SettingError(
                f'{where} has no type; {nearest(str(key), default or {})}.')
        found = found_in(HOOKS, kind)
        if found is None and scope is not None:
            found = found_in(MMENGINE_HOOKS, f'{scope}.{kind}')
        if found is None:
            known = [f'mmhkt.{name}' for name in HOOKS.module_dict]
            raise SettingError(f'{where}: there is no hook "{kind}"; '
                               f'{nearest(str(kind), known)}.')
        if inspect.isclass(found):
            # Annotations of others may say less than they take: Tuple[int].
            ours = found.__module__.partition('.')[0] == 'mmhkt'
            check(found, settings, f'{where}: {name_of(found)}', values=ours)
