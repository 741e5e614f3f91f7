# Copyright (c) mmhkt authors. All rights reserved.
"""CIFAR-10: 50,000 and 10,000 colour images of 32x32, ten classes.

From https://www.cs.toronto.edu/~kriz/cifar.html, the binary version.
"""
import tarfile
import tempfile
from pathlib import Path
from typing import Dict, Optional

import numpy as np

from . import PrepareError
from .common import check_arrays, check_bytes, download, find, write_arrays

URL = 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz'
# the official MD5 of each file
FILES = {
    'data_batch_1.bin': '5dd7e06a14cb22eb9f671a540d1b7c25',
    'data_batch_2.bin': '5ea93a67294ea407fff1d09f752e9692',
    'data_batch_3.bin': '942cd6a4bcdd0dd3c604fbe906cb4421',
    'data_batch_4.bin': 'ae636b3ba5c66a11e91e8cb52e771fcb',
    'data_batch_5.bin': '53f37980c15c3d472c316c40844f3f0d',
    'test_batch.bin': '803d5f7f4d78ea53de84dbe85f74fb6d',
}
COUNTS = dict(train=50000, test=10000)


def is_there(path: Path) -> bool:
    """Whether the file is there.

    Raises:
        PrepareError: If it cannot be read or has another number of images.
    """
    if not path.exists():
        return False
    check_arrays(path, COUNTS)
    return True


def prepare(source: Optional[Path], path: Path) -> None:
    """Write a file for :class:`mmhkt.ArrayDataset`, in the official order.

    Args:
        source (Path, optional): The archive of the binary version, or a
            folder that has its six files, in any subfolder. None downloads
            the archive.
        path (Path): The ``.npz`` file to write.

    Raises:
        PrepareError: If a file is absent or not the published one.
    """
    with tempfile.TemporaryDirectory() as folder:
        if source is None:
            source = download(URL, Path(folder))
        contents = in_folder(source) if source.is_dir() else in_archive(source)
    parts: Dict[str, list] = {}
    for name, digest in FILES.items():
        check_bytes(contents[name], digest, name, 'md5')
        # Of each image its class, then all red, green and blue values.
        rows = np.frombuffer(contents[name], np.uint8).reshape(-1, 3073)
        split = 'test' if name.startswith('test') else 'train'
        parts.setdefault(f'{split}_images',
                         []).append(rows[:,
                                         1:].reshape(-1, 3, 32,
                                                     32).transpose(0, 2, 3, 1))
        parts.setdefault(f'{split}_labels', []).append(rows[:, 0])
    write_arrays(path, {k: np.concatenate(v) for k, v in parts.items()})


def in_folder(source: Path) -> Dict[str, bytes]:
    return {name: find(source, [name]).read_bytes() for name in FILES}


def in_archive(source: Path) -> Dict[str, bytes]:
    found = {}
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                name = Path(member.name).name
                file = archive.extractfile(member)
                if name in FILES and file is not None:
                    found[name] = file.read()
            # tarfile takes damage for the end. Only behind the real one is
            # the checksum of the whole, which is checked as it is read.
            while archive.fileobj is not None and archive.fileobj.read(
                    1 << 20):
                pass
    except Exception as error:  # tarfile, gzip and zlib raise many kinds
        raise PrepareError(f'{source} cannot be read: {error}') from None
    for name in FILES:
        if name not in found:
            raise PrepareError(f'{source} has no {name}; wanted is the binary '
                               f'version, {URL}')
    return found
