# Copyright (c) mmhkt authors. All rights reserved.
"""From any of our errors to one line on the screen.

Imported by every command, and therefore quick to import.
"""
import dis
import functools
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Callable, Iterator, List, Optional

import mmhkt
from mmhkt.prepare import RECIPES

FLAG = '--traceback'
# Where what we raise is raised.
OURS = tuple(
    str(Path(mmhkt.__file__).resolve().parent / part)
    for part in ('', '../tools'))
# What is of the machine and not of the program, whoever raises it.
OF_THE_MACHINE = ('PytorchStreamWriter', 'No space left on device')


def in_one_line(main: Callable) -> Callable:
    """A command's ``main`` that ends with one line where the input is wrong.

    An error that is raised by a statement of ours, or that the operating
    system reports, becomes ``mmhkt: <message>`` and exit code 1; with the
    flag ``--traceback`` everything is shown. What nobody has foreseen keeps
    its traceback.
    """

    @functools.wraps(main)
    def run(argv: Optional[List[str]] = None):
        given = sys.argv if argv is None else argv
        shown = FLAG in given
        if shown:
            given.remove(FLAG)
        try:
            return main(argv)
        except Exception as error:
            line = line_of(error)
            if line is None or shown:
                raise
        # Outside, so that there is nothing it could be in the wake of.
        raise SystemExit(f'mmhkt: {line} ({FLAG} shows where)')

    return run


def line_of(error: BaseException) -> Optional[str]:
    """The line that says what was wrong; None of an error that is no answer
    to anything that a user has done."""
    for one in _chain(error):
        if _raised_by_us(one.__traceback__):
            return _message(one) + _remedy(one)
    if isinstance(error, OSError) or any(
            text in str(error) for text in OF_THE_MACHINE):
        return f'{type(error).__name__}: {_message(error)}' + _remedy(error)
    return None


def _remedy(error: BaseException) -> str:
    """What makes a file that is not there, if one of our commands does."""
    if not isinstance(error, FileNotFoundError):
        return ''
    for name, recipe in RECIPES.items():
        if recipe.makes(str(error)):
            return f'; `mmhkt prepare {name}` makes it'
    return ''


def _message(error: BaseException) -> str:
    # A KeyError quotes its message.
    text = error.args[0] if isinstance(error,
                                       KeyError) and error.args else error
    return ' '.join(str(text).split()).rstrip('.') or type(error).__name__


def _chain(error: Optional[BaseException]) -> Iterator[BaseException]:
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _raised_by_us(traceback: Optional[TracebackType]) -> bool:
    """Whether an error comes from a ``raise`` in our code, and not from an
    operation that failed there."""
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    operation = dis.opname[code.co_code[traceback.tb_lasti]]
    path = os.path.realpath(code.co_filename)
    return operation == 'RAISE_VARARGS' and path.startswith(
        tuple(os.path.realpath(folder) + os.sep for folder in OURS))
