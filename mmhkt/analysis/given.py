# Copyright (c) mmhkt authors. All rights reserved.
"""What is to be inspected: one run, two, or a whole comparison."""
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional

from mmengine.config import Config

from mmhkt.comparison.entries import is_alone
from mmhkt.utils.config import ConfigError, load_config, require

CHILD, ALONE = 'child', 'child alone'
NEEDED = ('model', 'parent', 'val_dataloader')


@dataclass(frozen=True)
class Given:
    """Children of one architecture, and the config of one of them.

    Args:
        cfg (Config): Of a run that has a parent.
        checkpoints (dict[str, str]): Name -> weights of a child.
        reference (str, optional): Name of the one that was trained alone.
            Defaults to None: there is none.
    """
    cfg: Config
    checkpoints: Dict[str, str]
    reference: Optional[str] = None

    @property
    def inherited(self) -> List[str]:
        """Names of the others."""
        return [name for name in self.checkpoints if name != self.reference]


def given_runs(config: str,
               checkpoint: str,
               alone: Optional[str] = None,
               options: Optional[dict] = None) -> Given:
    """A run, and maybe one of the child alone beside it.

    Args:
        config (str): Of the run.
        checkpoint (str): Its weights.
        alone (str, optional): Those of the child alone. Defaults to None.
        options (dict, optional): Settings that override the config's.

    Raises:
        ConfigError: If the config has no parent, say, or a file is missing.
    """
    cfg = load_config(config, options)
    require(cfg, NEEDED)
    checkpoints = {CHILD: str(checkpoint)}
    if alone is not None:
        checkpoints[ALONE] = str(alone)
    for path in checkpoints.values():
        if not Path(path).is_file():
            raise ConfigError(f'there is no checkpoint {path}')
    return Given(cfg, checkpoints, ALONE if alone is not None else None)


def given_comparison(folder: str,
                     seed: Optional[int] = None,
                     options: Optional[dict] = None) -> Given:
    """The children of a comparison that one seed has brought forth.

    Args:
        folder (str): Of the comparison, ``<method>/seed_<seed>.py`` in it.
        seed (int, optional): Defaults to None: the first one with which a
            child that has a parent was finished.
        options (dict, optional): Settings that override the configs'.

    Raises:
        ConfigError: If there is no such child.
    """
    runs: Dict[int, Dict[str, Path]] = {}
    for path in sorted(Path(folder).glob('*/seed_*.py')):
        found = re.fullmatch(r'seed_(\d+)', path.stem)
        if found and Path(path.with_suffix(''), 'child.pth').is_file():
            runs.setdefault(int(found[1]), {})[path.parent.name] = path
    if seed is not None and seed not in runs:
        raise ConfigError(f'no run with seed {seed} in {folder} is finished; '
                          f'seeds: {", ".join(map(str, sorted(runs)))}')
    for one in sorted(runs) if seed is None else [seed]:
        cfgs = {
            name: load_config(str(path), options)
            for name, path in runs[one].items()
        }
        alone = [n for n, c in cfgs.items() if is_alone(c.get('method'))]
        others = [n for n in cfgs if n not in alone and cfgs[n].get('parent')]
        if others:
            require(cfgs[others[0]], NEEDED)
            # The child alone last, as beside a single run.
            return Given(
                cfgs[others[0]], {
                    name: str(
                        Path(runs[one][name].with_suffix(''), 'child.pth'))
                    for name in [*others, *alone[:1]]
                }, alone[0] if alone else None)
    raise ConfigError(f'no child with a parent is finished in {folder}: '
                      'no <method>/seed_<seed>/child.pth')
