# Copyright (c) mmhkt authors. All rights reserved.
"""What all recipes share: find or fetch a file, check it, write arrays."""
import hashlib
import os
from pathlib import Path
from typing import Dict, Optional, Sequence
from urllib.error import URLError

import numpy as np

from mmhkt.utils.arrays import read_arrays
from mmhkt.utils.files import replaced
from . import PrepareError


def download(url: str, folder: Path, sha256: Optional[str] = None) -> Path:
    """Fetch a file unless it is there already, whole.

    Args:
        url (str): Where it is; its last part becomes the file's name.
        folder (Path): Where it goes. It is there whole or not at all.
        sha256 (str, optional): Of the file, or its first digits. Defaults to
            None, where what is in the file is checked later.

    Raises:
        PrepareError: If it cannot be had or is not what it should be.
    """
    from torch.hub import download_url_to_file
    path = Path(folder, url.rpartition('/')[2])
    if is_whole(path, sha256 or ''):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        download_url_to_file(url, str(path), hash_prefix=sha256)
    except (URLError, OSError, RuntimeError) as error:
        raise PrepareError(
            f'{url} cannot be fetched ({error}); get it by other means and '
            'name the file or its folder with --source') from None
    return path


def is_whole(path: Path, sha256: str) -> bool:
    """Whether a file is there and has a checksum that begins so."""
    return path.is_file() and (not sha256 or hashlib.sha256(
        path.read_bytes()).hexdigest().startswith(sha256))


def find(source: Path, names: Sequence[str]) -> Path:
    """The first file of one of these names in a folder or below it."""
    if not source.exists():
        raise PrepareError(f'there is no {source}')
    for name in names:
        for path in sorted(source.rglob(name)):
            return path
    raise PrepareError(f'{source} has no {" or ".join(names)}')


def check_bytes(content: bytes, digest: str, what, kind='sha256') -> None:
    """Refuse what has another checksum."""
    found = hashlib.new(kind, content).hexdigest()
    if found != digest:
        raise PrepareError(f'{what} is damaged or another file: its content '
                           f'has the {kind.upper()} {found}, not {digest}')


def check_arrays(path: Path, counts: Dict[str, int]) -> None:
    """Refuse a file of arrays that cannot be read or has others.

    Args:
        path (Path): The file.
        counts (dict[str, int]): Split -> how many images it has.
    """
    lengths = {
        f'{split}_{kind}': count
        for split, count in counts.items()
        for kind in ('images', 'labels')
    }
    try:
        arrays = read_arrays(path, list(lengths), optional=())
    except (OSError, ValueError, KeyError) as error:
        # Not str(error): a KeyError quotes its message.
        raise PrepareError(str(error.args[-1])) from None
    for key, count in lengths.items():
        if arrays[key].shape[:1] != (count, ):
            raise PrepareError(
                f'{path} has {key} of shape {arrays[key].shape}, but wanted '
                f'are {count}')


def give_name(made: Path, path: Path) -> None:
    """Rename a folder when it is whole.

    Raises:
        PrepareError: If another process has made one meanwhile, which
            :func:`shutil.move` would put this one into.
    """
    try:
        os.rename(made, path)
    except OSError:
        if not path.exists():
            raise
        raise PrepareError(f'{path} is there by now, made by another process; '
                           'it is left as it is') from None


def write_arrays(path: Path, arrays: Dict[str, np.ndarray]) -> None:
    """Write a file for :class:`mmhkt.ArrayDataset`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path, unique=True) as partial, open(partial, 'wb') as file:
        np.savez(file, allow_pickle=False, **arrays)
