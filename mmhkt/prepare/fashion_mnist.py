# Copyright (c) mmhkt authors. All rights reserved.
"""Fashion-MNIST: 60,000 and 10,000 grey images of 28x28, ten kinds of clothes.

From https://github.com/zalandoresearch/fashion-mnist (MIT licence). Debian's
package dataset-fashion-mnist installs the same files, compressed anew, in
/usr/share/datasets/fashion-mnist. --source: their folder.
"""
import gzip
import tempfile
import zlib
from pathlib import Path
from typing import Optional

import numpy as np

from . import PrepareError
from .common import check_arrays, check_bytes, download, find, write_arrays

URL = 'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/'
# array -> file and the SHA-256 of what is in it; the archives themselves
# differ between mirrors
FILES = {
    'train_images':
    ('train-images-idx3-ubyte',
     'c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888'),
    'train_labels':
    ('train-labels-idx1-ubyte',
     'bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9'),
    'test_images':
    ('t10k-images-idx3-ubyte',
     '5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b'),
    'test_labels':
    ('t10k-labels-idx1-ubyte',
     '0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34'),
}
COUNTS = dict(train=60000, test=10000)


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
    """Write a file for :class:`mmhkt.ArrayDataset`.

    Args:
        source (Path, optional): A folder with the four files, ``.gz`` or
            unpacked, in any subfolder. None downloads them.
        path (Path): The ``.npz`` file to write.

    Raises:
        PrepareError: If a file is absent or not the published one.
    """
    with tempfile.TemporaryDirectory() as folder:
        arrays = {}
        for key, (name, digest) in FILES.items():
            file = (
                download(f'{URL}{name}.gz', Path(folder))
                if source is None else find(source, [f'{name}.gz', name]))
            content = read(file)
            check_bytes(content, digest, file)
            arrays[key] = parse_idx(content, file)
    write_arrays(path, arrays)


def read(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != '.gz':
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise PrepareError(f'{path} cannot be unpacked: {error}') from None


def parse_idx(content: bytes, what='the file') -> np.ndarray:
    """An array of the IDX format of MNIST's files.

    Two zero bytes, the type (8 is uint8), the number of axes, the size of
    each as a big-endian uint32, and the values.
    """
    if content[:3] != b'\0\0\x08' or len(content) < 4:
        raise PrepareError(f'{what} is no IDX file of bytes')
    begin = 4 + 4 * content[3]
    sizes = [
        int.from_bytes(content[i:i + 4], 'big') for i in range(4, begin, 4)
    ]
    values = np.frombuffer(content[begin:], np.uint8)
    if len(content) < begin or values.size != np.prod(sizes):
        raise PrepareError(f'{what} is not whole')
    return values.reshape(sizes)
