# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt pair`` does: join child and parent as training would."""
import tempfile
from argparse import Namespace
from typing import Optional, Sequence

import torch
from mmengine.config import Config
from mmengine.device import get_device
from rich.console import Console

from mmhkt.models.build import image_channels
from mmhkt.utils.config import (ConfigError, build_runner, load_config,
                                set_dataloader_defaults)
from .inheritance_runner import InheritanceRunner


def run(args: Namespace) -> None:
    """Do what the command line says."""
    cfg = load_config(args.config, args.cfg_options)
    if args.random_parent:
        forget_checkpoint(cfg)
    table = join(cfg, args.shape).pairing()
    # Rather wrapped by a narrow terminal than cut off.
    Console(width=max(120, Console().width)).print(table)


def forget_checkpoint(cfg: Config) -> None:
    """Give the config's parent random weights."""
    if cfg.get('parent') is None:
        raise ConfigError('--random-parent: the config has no parent')
    for name in ('checkpoint', 'revise_keys', 'trusted'):
        cfg.parent.pop(name, None)
    cfg.parent.random_weights = True


def join(cfg: Config, shape: Optional[Sequence[int]] = None):
    """Child, parent and methods as training would begin with them.

    Args:
        cfg (Config): Of a run.
        shape (Sequence[int], optional): Height and width of a random image.
            Defaults to None, an image of the training set.

    Returns:
        Inheritance: What would be trained.
    """
    cfg.log_level = 'ERROR'
    set_dataloader_defaults(cfg, ('train_dataloader', ))
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        runner = build_runner(cfg)
        if not isinstance(runner, InheritanceRunner):
            raise ConfigError(
                f'config {cfg.filename} is none of ours: add runner_type = '
                "'mmhkt.InheritanceRunner', a parent and a method")
        if shape is not None:
            image = torch.randn(
                1, image_channels(runner.model), *shape, device=get_device())
            return runner.inherit(runner.model, image)
        try:
            runner.train_loop  # reads the training set
        except OSError as error:
            raise ConfigError(
                f'the training set cannot be read ({error}); with '
                '--shape H W it is not needed') from None
        runner.connect()
        return runner.inheritance
