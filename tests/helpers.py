# Copyright (c) mmhkt authors. All rights reserved.
"""Small real runs for the tests."""
import shutil
import subprocess
import sys
import uuid
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from forking import forking
from mmengine.config import Config

from mmhkt.models import Inheritance
from mmhkt.registry import RUNNERS
from mmhkt.utils.config import load_config, set_dataloader_defaults

REPO = Path(__file__).resolve().parents[1]
CONFIGS = REPO / 'configs'


def digits_config(work_dir, method='mmhkt.HKT', parent=None, **options):
    """A short run on 256 digits: 4 iterations an epoch, 2 epochs.

    The parent is a random one unless given: whether it teaches anything does
    not matter for what is tested.
    """
    cfg = load_config(CONFIGS / 'alone/resnet8-narrow_digits.py')
    cfg.method = dict(type=method) if isinstance(method, str) else method
    cfg.parent = parent or dict(
        config=str(CONFIGS / 'alone/resnet20_digits.py'), random_weights=True)
    cfg.merge_from_dict({
        'train_cfg.max_epochs': 2,
        'train_dataloader.dataset.indices': 256,
        'val_dataloader.dataset.indices': 64,
        'test_dataloader.dataset.indices': 64,
        'log_level': 'WARNING',
        'work_dir': str(work_dir),
        **options
    })
    set_dataloader_defaults(
        cfg, ('train_dataloader', 'val_dataloader', 'test_dataloader'))
    # mmengine's managers keep one state a name, also between runs.
    cfg.experiment_name = uuid.uuid4().hex
    return cfg


def run(cfg):
    """Train by the config's runner and return the runner."""
    runner = RUNNERS.build(cfg)
    runner.train()
    return runner


def cut_off(run, to, checkpoint):
    """A copy of a finished run as if it had been cut off before its last
    checkpoint."""
    shutil.copytree(run, to)
    for name in (checkpoint, 'last_checkpoint', 'child.pth'):
        (to / name).unlink()


def prepared(cfg) -> Inheritance:
    """What the child of a config is trained with."""
    runner = RUNNERS.build(cfg)
    runner.connect()
    return runner.inheritance


def read(path) -> dict:
    """A checkpoint that a test itself has written."""
    return torch.load(path, map_location='cpu', weights_only=False)


def same(one: dict, other: dict) -> bool:
    """Whether two sets of weights are equal to the bit."""
    return list(one) == list(other) and all(
        torch.equal(one[key], other[key]) for key in one)


def arrays(path, images=48, size=32, classes=10):
    """Write a data set of noise in MedMNIST's format."""
    rng = np.random.default_rng(0)
    np.savez(
        path, **{
            f'{split}_{what}': value
            for split in ('train', 'test')
            for what, value in dict(
                images=rng.integers(
                    0, 256, (images, size, size, 3), dtype=np.uint8),
                labels=np.arange(images) % classes).items()
        })
    return path


def tool(name, *args, cwd=None, check=True, fork=True, **kwargs):
    """Run one of our tools in a process of its own; `fork` see there."""
    command = [sys.executable, str(REPO / 'tools' / name), *map(str, args)]
    with forking() if fork else nullcontext():
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, **kwargs)
    if check and done.returncode:
        raise AssertionError(f'{command}\n{done.stdout[-3000:]}\n'
                             f'{done.stderr[-3000:]}')
    return done


def dump(cfg: Config, path) -> Path:
    """Write a config to a file."""
    cfg.dump(str(path))
    return Path(path)
