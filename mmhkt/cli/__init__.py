# Copyright (c) mmhkt authors. All rights reserved.
"""The command ``mmhkt``, which is also ``python -m mmhkt``.

A command is a module here with a ``main``, that reads ``sys.argv`` as a script
would. Libraries that take seconds to import are imported where they are used,
so that ``--help`` does not wait for them.
"""
import sys
from importlib import import_module
from typing import List, Optional

from mmhkt.version import __version__

# command -> what it does; its module has `_` in place of `-`
COMMANDS = {
    'prepare': 'make the data files and fetch the weights of the configs',
    'pair': 'show what inherits from what, before anything is trained',
    'train': 'train a child with its parent, or any OpenMMLab config',
    'test': 'test a checkpoint',
    'compare': 'train methods x seeds and compare what they reach',
    'inspect': 'show what a finished child got from its parent',
    'benchmark': 'time what a training step costs with each method',
    'export': 'make the plain child of a checkpoint',
    'flow': 'show the optical flow of two images or of a video',
}
USAGE = """usage: mmhkt COMMAND ...

Hereditary Knowledge Transfer for OpenMMLab: a small child inherits from a big
parent while it trains.

{commands}

`mmhkt COMMAND --help` says more; with `--traceback` an error shows where it
was raised. `python -m mmhkt` is the same command.
"""


def usage() -> str:
    width = max(map(len, COMMANDS))
    return USAGE.format(commands='\n'.join(f'  {name:{width}}  {what}'
                                           for name, what in COMMANDS.items()))


def main(argv: Optional[List[str]] = None) -> None:
    """Run a command.

    Args:
        argv (list[str], optional): The command's name and its arguments.
            Defaults to None, those of the process.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ['--help']
    if name in ('-h', '--help', 'help'):
        print(usage(), end='')
    elif name in ('-V', '--version'):
        print(f'mmhkt {__version__}')
    elif name in COMMANDS:
        sys.argv = [f'mmhkt {name}', *rest]
        module = import_module(f'mmhkt.cli.{name.replace("-", "_")}')
        sys.exit(module.main())
    else:
        # Not before it is wanted: it imports torch.
        from mmhkt.utils import nearest
        sys.exit(f'mmhkt: there is no command "{name}"; '
                 f'{nearest(name, COMMANDS)}')
