# Copyright (c) mmhkt authors. All rights reserved.
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from mmengine.config import Config

from mmhkt.hooks.examples_hook import UNFINISHED
from mmhkt.utils import lock
from mmhkt.utils.config import ConfigError, build_runner
from mmhkt.utils.files import remove_partial
from mmhkt.utils.signals import answered
from .preflight import preflight
from .resumable import checkpoints

# Launcher -> what tells the number of a process.
RANK = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


def train(cfg: Config) -> None:
    """Train as a config says, alone in its folder.

    Args:
        cfg (Config): Of a run, with ``work_dir``.

    Raises:
        ConfigError: If another training goes on in that folder.
        SettingError: If a setting is wrong, see :func:`preflight`.
        KeyboardInterrupt: If it is interrupted, by SIGTERM or SIGHUP too;
            says how it goes on.
    """
    preflight(cfg)
    with _alone(Path(cfg.work_dir), cfg.get('launcher', 'none')), _told(cfg):
        build_runner(cfg).train()


@contextmanager
def _alone(folder: Path, launcher: str) -> Iterator:
    file = None
    # The other processes of a run work in the same folder.
    if os.environ.get(RANK.get(launcher, ''), '0') == '0':
        folder.mkdir(parents=True, exist_ok=True)
        if os.environ.get(lock.LOCKED) != str(folder.resolve()):
            file = lock.acquire(folder)
            if file is None:
                raise ConfigError(f'another training goes on in {folder}; '
                                  'give this one another --work-dir')
        # Of one that was killed while it wrote.
        remove_partial(folder)
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    try:
        yield
    finally:
        if file is not None:
            os.close(file)


@contextmanager
def _told(cfg: Config) -> Iterator:
    """Say how a training that is interrupted goes on."""

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    try:
        with answered(interrupt):
            yield
    except KeyboardInterrupt:
        there = checkpoints(cfg.work_dir, cfg)
        raise SystemExit('mmhkt: interrupted; ' + (
            'with --resume the same command goes on from the last '
            f'checkpoint in {there[0].parent}'
            if there else 'no checkpoint was written yet')) from None
