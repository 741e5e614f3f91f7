# Copyright (c) mmhkt authors. All rights reserved.
"""What several commands share: arguments, and how their work begins."""
from argparse import ArgumentParser, Namespace
from importlib import import_module
from typing import Optional

from mmengine.config import DictAction


def add_cfg_options(parser: ArgumentParser, help: str = 'as in train') -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help=help)


def add_common_arguments(parser: ArgumentParser) -> None:
    """Add the flags that training and testing share, under OpenMMLab's names.

    Args:
        parser (ArgumentParser): The tool's parser.
    """
    parser.add_argument(
        '--no-pin-memory',
        action='store_true',
        help='turn off pin_memory in every dataloader')
    add_cfg_options(
        parser, 'settings that override the config, as key=value; a list is '
        'written key="[a,b]" or key=a,b, nested ones as key="[(a,b),(c,d)]", '
        'quoted and without blanks')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what starts the processes of a distributed run')
    # Which of the two spellings a launcher passes depends on torch's version.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def hand_over(args: Namespace, module: str) -> Optional[int]:
    """Let a module's ``run`` do the work; returns the exit status.

    What takes seconds to import is imported only now, and silently.
    """
    from mmhkt.utils.config import quieten
    quieten()
    return import_module(module).run(args)
