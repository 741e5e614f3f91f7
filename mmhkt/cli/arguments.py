# Copyright (c) mmhkt authors. All rights reserved.
"""What several commands share: arguments, and how their work begins."""
import re
from argparse import (ArgumentError, ArgumentParser, ArgumentTypeError,
                      Namespace)
from importlib import import_module
from typing import Any, Callable, NoReturn, Optional

from mmengine.config import DictAction


class Parser(ArgumentParser):
    """Ends with one line where the arguments are wrong."""

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r'unrecognized arguments: (-[^ =]+)', message)
        if unknown is not None:
            # Here, because it imports torch.
            from mmhkt.utils import nearest
            known = [o for a in self._actions for o in a.option_strings]
            message = f'there is no {unknown[1]}; {nearest(unknown[1], known)}'
        self.exit(
            2, f'mmhkt: {" ".join(message.split())} (`{self.prog} --help` '
            'says more)\n')


class KeyValues(DictAction):
    """Pairs ``KEY=VALUE``, as mmengine reads them; wrong ones are named."""

    def __call__(self, parser, namespace, values, option_string=None):
        for pair in values:
            key, equals, _ = pair.partition('=')
            if not key.strip() or not equals:
                raise ArgumentError(self, f"'{pair}' is no KEY=VALUE")
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:  # brackets
            raise ArgumentError(self, str(error)) from None


def setting(kind: str) -> Callable[[str], Any]:
    """The ``type`` of an option: a number, checked as settings are.

    Args:
        kind (str): Name of an annotation in :mod:`mmhkt.utils.settings`.
    """

    def convert(text: str) -> Any:
        # Here, because it imports torch.
        from mmhkt.utils import settings
        annotation = getattr(settings, kind)
        for number in (int, float):
            try:
                value: Any = number(text)
                break
            except ValueError:
                value = text
        try:
            settings.check_value('it', annotation, value)
        except settings.SettingError:
            raise ArgumentTypeError(
                f'must be {settings.described(annotation)}, but got '
                f'{settings.shown(text)}') from None
        return value

    return convert


def add_cfg_options(parser: ArgumentParser, help: str = 'as in train') -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
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
    parser.add_argument(
        '--local_rank', '--local-rank', type=setting('Number'), default=0)


def hand_over(args: Namespace, module: str) -> Optional[int]:
    """Let a module's ``run`` do the work; returns the exit status.

    What takes seconds to import is imported only now, and silently.
    """
    from mmhkt.utils.config import quieten
    quieten()
    return import_module(module).run(args)
