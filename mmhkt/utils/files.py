# Copyright (c) mmhkt authors. All rights reserved.
import json
import os
import re
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Union

from .settings import check

# What a file is called before it is whole.
PARTIAL = '.partial'

# What a training writes by way of such files.
OURS = re.compile(r'(.+\.(pth|json|npz|py|txt|html)|last_checkpoint)(\.\d+)?' +
                  re.escape(PARTIAL))


def remove_partial(folder: Path) -> None:
    """Remove what a training left that was killed while it wrote, but nothing
    of others in the same folder."""
    for path in folder.glob(f'*{PARTIAL}'):
        if path.is_file() and OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def replaced(path: Union[str, Path],
             unique: bool = False,
             durable: bool = True) -> Iterator[Path]:
    """Write a file so that it is there whole or not at all.

    Args:
        path (str | Path): The file; what it held before stays until the new
            content is complete.
        unique (bool): Whether the partial file gets a name of this process,
            where several may write the same. Defaults to False.
        durable (bool): Whether it is to survive a loss of power too, for
            which the disk is waited for. Defaults to True.

    Yields:
        Path: The partial file to write in its place.
    """
    path = Path(path)
    process = f'.{os.getpid()}' if unique else ''
    partial = path.with_name(f'{path.name}{process}{PARTIAL}')
    try:
        yield partial
        if durable:
            _sync(partial)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    if durable:
        _sync(path.parent)


def write_text(path: Union[str, Path],
               text: str,
               durable: bool = False) -> None:
    """As :meth:`Path.write_text`, but whole or not at all, also where several
    processes write it."""
    with replaced(path, unique=True, durable=durable) as partial:
        partial.write_text(text, encoding='utf-8')


def json_text(node: Any, lines: int, indent: str = '') -> str:
    """JSON to read and to compare: what is nested deeply is one line.

    Args:
        node (Any): The content.
        lines (int): How many levels have a line for each item.
        indent (str): Before each line but the first.
    """
    if not lines or not node or not isinstance(node, (dict, list, tuple)):
        return json.dumps(node, ensure_ascii=False)
    inner = f'{indent}  '
    is_dict = isinstance(node, dict)
    items = [
        (f'{json.dumps(str(item), ensure_ascii=False)}: ' if is_dict else '') +
        json_text(node[item] if is_dict else item, lines - 1, inner)
        for item in node
    ]
    begin, end = '{}' if is_dict else '[]'
    return f'{begin}\n{inner}' + f',\n{inner}'.join(items) + f'\n{indent}{end}'


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    with suppress(OSError):  # not every file system can
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


class Damaged(ValueError):
    """A file of ours that is not what we wrote."""


def read_json(path: Path, fields: Optional[Callable] = None) -> Any:
    """What a JSON file holds.

    Read again only when it has changed, and therefore not to be changed.

    Args:
        path (Path): The file.
        fields (Callable, optional): A function whose signature says what an
            object in it is made of, see :mod:`mmhkt.utils.settings`; more
            than that may be there. Defaults to None, anything.

    Returns:
        Any: None if there is no such file.

    Raises:
        Damaged: Names the file, and what to do.
    """
    try:
        now = os.stat(path)
        return _read_json(path, fields, now.st_mtime_ns, now.st_size,
                          now.st_ino)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=4096)
def _read_json(path: Path, fields: Optional[Callable], *_: int) -> Any:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if fields is not None:
            check(fields, content, 'it', finite=False, more=True)
    except (ValueError, RecursionError) as error:
        why = str(error).rstrip('.')
        raise Damaged(f'"{path}" is damaged: {why}. Remove it, and start what '
                      'has written it again.') from None
    return content


def some_of(folder: Union[str, Path], count: int = 4) -> str:
    """What a folder holds, in words: the first files below it. No further is
    it gone through, since it may be anybody's."""
    found: List[str] = []
    for where, folders, names in os.walk(folder):
        folders.sort()
        below = os.path.relpath(where, folder)
        found += [
            os.path.normpath(os.path.join(below, name))
            for name in sorted(names)
        ]
        if len(found) > count:
            return ', '.join(found[:count]) + ' and more'
    return ', '.join(found) or 'no file'
