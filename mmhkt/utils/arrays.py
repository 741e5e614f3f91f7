# Copyright (c) mmhkt authors. All rights reserved.
"""The one reader of arrays in files, which nobody needs to trust."""
import zipfile
from pathlib import Path
from typing import Dict, Optional, Sequence, Union

import numpy as np

from .files import Damaged
from .names import nearest


def read_arrays(
        path: Union[str, Path],
        keys: Sequence[str] = (),
        optional: Optional[Sequence[str]] = None) -> Dict[str, np.ndarray]:
    """Read an ``.npz`` file, without pickle.

    Args:
        path (str | Path): The file.
        keys (Sequence[str]): Arrays that have to be there. Defaults to none.
        optional (Sequence[str], optional): Which others are read where they
            are there. Defaults to None, all.

    Returns:
        dict[str, ndarray]: Key -> array.

    Raises:
        FileNotFoundError: If there is no such file.
        Damaged: If it is no such file, or only a part of one; names the array
            that cannot be read.
        KeyError: If an array is not there; names the nearest that are.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no file {path}')
    if not zipfile.is_zipfile(path):
        raise Damaged(f'{path}: not an .npz file, or only a part of one')
    reading = 'it'
    arrays: Dict[str, np.ndarray] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            found = file.files
            for key in found:
                if optional is None or key in keys or key in optional:
                    reading = key
                    arrays[key] = np.asarray(file[key])
    except Exception as error:  # numpy, zipfile and zlib raise many kinds
        raise Damaged(f'{path}: {reading} cannot be read: {error}') from error
    for key in keys:
        if key not in found:
            raise KeyError(f'{path}: no array {key!r}; the file has '
                           f'{", ".join(sorted(found)) or "none"}; '
                           f'{nearest(key, found)}')
    return arrays
