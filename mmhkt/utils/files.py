# Copyright (c) mmhkt authors. All rights reserved.
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Union


@contextmanager
def replaced(path: Union[str, Path], unique: bool = False) -> Iterator[Path]:
    """Write a file so that it is there whole or not at all.

    Args:
        path (str | Path): The file; what it held before stays until the new
            content is complete.
        unique (bool): Whether the partial file gets a name of this process,
            where several may write the same. Defaults to False.

    Yields:
        Path: The partial file to write in its place.
    """
    path = Path(path)
    process = f'.{os.getpid()}' if unique else ''
    partial = path.with_name(f'{path.name}{process}.partial')
    yield partial
    os.replace(partial, path)


def write_text(path: Union[str, Path], text: str) -> None:
    """As :meth:`Path.write_text`, but whole or not at all."""
    with replaced(path) as partial:
        partial.write_text(text, encoding='utf-8')
