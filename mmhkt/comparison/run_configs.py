# Copyright (c) mmhkt authors. All rights reserved.
"""The config of every run, as a file of its own."""
from typing import List, Tuple

from mmengine.config import Config

from mmhkt.utils import few
from mmhkt.utils.config import ConfigError, flat, plain
from mmhkt.utils.files import write_text
from .plan import EXAMPLES, Plan, Run


def write_configs(plan: Plan) -> None:
    """Write the config of every run beside its folder.

    Raises:
        ConfigError: See :func:`new_configs`; nothing is written then.
    """
    for run, cfg in new_configs(plan):
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        write_text(run.config_file, cfg.pretty_text)
        run.folder.mkdir(exist_ok=True)


def new_configs(plan: Plan) -> List[Tuple[Run, Config]]:
    """The runs whose configs are not there yet; writes nothing.

    Raises:
        ConfigError: If a run's folder is there already, of a run with another
            config.
    """
    new = []
    for run in plan.everything:
        cfg = run.config()
        if run.folder.exists():
            if not run.config_file.exists():
                raise ConfigError(f'{run.name}: {run.folder} is of an unknown '
                                  f'run, without {run.config_file}; choose '
                                  'another --work-dir, or remove that folder')
            old = Config.fromfile(run.config_file)
            keys = _differences(old, cfg, plan)
            if keys:
                raise ConfigError(
                    f'{run.name}: {run.folder} is of a run with other '
                    f'settings, see {run.config_file}: '
                    f'{few(keys, 8)}. '
                    'Choose another --work-dir, or remove that folder')
            if plain(old) == plain(cfg):
                continue
        new.append((run, cfg))
    return new


def _differences(one: Config, other: Config, plan: Plan) -> List[str]:
    """Settings that differ, other than where the folder lies and what is
    looked at before and after the training."""
    ours, others = (flat(_without_looks(cfg)) for cfg in (one, other))
    moved = {'work_dir', 'parent.cache'
             } | ({'parent.checkpoint'} if plan.parent else set())
    return sorted(key for key in {
        **ours,
        **others
    } if key not in moved and ours.get(key, '') != others.get(key, ''))


def _without_looks(cfg: Config) -> dict:
    node = plain(cfg)
    custom = node.get('custom_hooks') or []
    default = dict(node.get('default_hooks') or {})
    default.pop('extraction', None)
    return {
        **node, 'custom_hooks': [h for h in custom if h['type'] != EXAMPLES],
        'default_hooks': default
    }
