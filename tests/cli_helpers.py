# Copyright (c) mmhkt authors. All rights reserved.
"""All commands, as the tests call them."""
from importlib import import_module

# Each with something that is not there.
NOWHERE = {
    'prepare': ['kitti', '--source', 'nowhere'],
    'prepare-lits': ['nowhere', 'out'],
    'pair': ['no.py'],
    'train': ['no.py'],
    'test': ['no.py', 'no.pth'],
    'compare': ['no.py'],
    'inspect': ['no.py', 'no.pth'],
    'benchmark': ['no.py'],
    'export': ['no.pth', 'out.pth'],
    'flow': ['no.png', 'no.jpg', '--config', 'no.py'],
}


def module_of(command):
    """The module of a command."""
    return import_module(f'mmhkt.cli.{command.replace("-", "_")}')
