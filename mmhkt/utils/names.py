# Copyright (c) mmhkt authors. All rights reserved.
import re
from difflib import get_close_matches
from typing import Iterable, Optional, Sequence


def nearest(name: str, names: Iterable[str], most: int = 5) -> str:
    """The valid names nearest to a wrong one, as the end of a sentence.

    Args:
        name (str): What was given.
        names (Iterable[str]): What would have been valid.
        most (int): How many to list at most. Defaults to 5.

    Returns:
        str: ``'nearest: a, b'``, or ``'valid: ...'`` where nothing is near.
    """
    names = list(dict.fromkeys(names))
    close = get_close_matches(name, names, n=most, cutoff=0.5)
    if close:
        return f'nearest: {", ".join(close)}'
    more = ', ...' if len(names) > 2 * most else ''
    return f'valid: {", ".join(names[:2 * most]) or "none"}{more}'


def one_of(what: str, value: str, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``.

    Raises:
        ValueError: If not; names the setting and the nearest valid values.
    """
    choices = list(choices)
    if value not in choices:
        raise ValueError(
            f'{what} "{value}" is unknown; {nearest(str(value), choices)}.')
    return value


def few(names: Sequence, most: int) -> str:
    """The first of some names, and that there are more."""
    shown = ', '.join(map(str, names[:most]))
    return shown + (', ...' if len(names) > most else '')


def type_name(cfg: Optional[dict]) -> str:
    """The name of what a config builds, without a scope or a module.

    Args:
        cfg (dict, optional): Its ``type`` is a name or, as in mmengine's
            configs in pure Python, a class.
    """
    kind = (cfg or {}).get('type', '')
    return re.split('[./]', getattr(kind, '__name__', str(kind)))[-1]
