# Copyright (c) mmhkt authors. All rights reserved.
"""Print which layer of the child inherits from which of the parent.

The table is the one that training begins with: sites, shapes, adapters, what
is learned in training only. Nothing is trained.
"""
import argparse
import tempfile
from typing import Optional, Sequence

# First: it checks what is installed and makes `mmhkt::` configs known.
import mmhkt  # noqa: F401  isort: skip
import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from rich.console import Console

from mmhkt.utils.config import (CONFIG_ERRORS, ConfigError, build_runner,
                                load_config, quieten, set_dataloader_defaults)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('config', help='path of a config with a method')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='size of a random image to look at the networks with. Defaults '
        'to the first image of the training set, which has to be there then')
    parser.add_argument(
        '--random-parent',
        action='store_true',
        help='give the parent random weights: the table can then be seen '
        'before there is a checkpoint')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='as in train.py')
    args = parser.parse_args(argv)
    if args.shape is not None and min(args.shape) < 1:
        parser.error('--shape wants a height and a width of 1 or more')
    return args


def main(argv=None):
    args = parse_args(argv)
    quieten()
    try:
        cfg = load_config(args.config, args.cfg_options)
        if args.random_parent:
            forget_checkpoint(cfg)
        table = join(cfg, args.shape).pairing()
    except (*CONFIG_ERRORS, ValueError) as error:
        raise SystemExit(f'mmhkt: {error}') from None
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
    # Not before `quieten`: it imports the libraries that talk.
    from mmhkt.runner import InheritanceRunner

    cfg.log_level = 'ERROR'
    set_dataloader_defaults(cfg, ('train_dataloader', ))
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        runner = build_runner(cfg)
        if not isinstance(runner, InheritanceRunner):
            raise ConfigError(
                f'config {cfg.filename} is none of ours: add runner_type = '
                "'mmhkt.InheritanceRunner', a parent and a method")
        if shape is not None:
            # The first filters see as many channels as images have.
            channels = next(p.shape[1] for p in runner.model.parameters()
                            if p.dim() == 4)
            image = torch.randn(1, channels, *shape, device=get_device())
            return runner.inherit(runner.model, image)
        try:
            runner.train_loop  # reads the training set
        except OSError as error:
            raise ConfigError(
                f'the training set cannot be read ({error}); with '
                '--shape H W it is not needed') from None
        runner.connect()
        return runner.inheritance


if __name__ == '__main__':
    main()
