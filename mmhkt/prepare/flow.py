# Copyright (c) mmhkt authors. All rights reserved.
"""Archives of optical flow, unpacked to where torchvision looks for them.

Their publishers give no checksums: the archive's own CRC-32 of each file, the
number of files and the published split are checked. All three are for
research; read their terms first.
"""
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple

from . import PrepareError
from .common import download


class Archive(NamedTuple):
    """Where a data set is and what it has.

    Attributes:
        url (str): Of the zip file.
        counts (dict[str, int]): Pattern below the data set's folder -> how
            many files match.
        split (str, optional): Address of the file that has a line for each
            pair, 1 of the training set and 2 of the validation set.
        pairs (tuple[int, int]): How many it has of each.
    """
    url: str
    counts: Dict[str, int]
    split: Optional[str] = None
    pairs: Tuple[int, int] = (0, 0)


ARCHIVES = {
    'Sintel':
    Archive(
        'http://files.is.tue.mpg.de/sintel/MPI-Sintel-complete.zip', {
            'training/clean/*/*.png': 1064,
            'training/final/*/*.png': 1064,
            'training/flow/*/*.flo': 1041
        }),
    'FlyingChairs':
    Archive(
        'https://lmb.informatik.uni-freiburg.de/data/FlyingChairs/'
        'FlyingChairs.zip', {
            'data/*.ppm': 45744,
            'data/*.flo': 22872
        }, 'https://lmb.informatik.uni-freiburg.de/resources/datasets/'
        'FlyingChairs/FlyingChairs_train_val.txt', (22232, 640)),
    'KittiFlow':
    Archive(
        'https://s3.eu-central-1.amazonaws.com/avg-kitti/data_scene_flow.zip',
        {
            'training/image_2/*_1?.png': 400,
            'training/flow_occ/*.png': 200
        }),
}


def prepare(source: Optional[Path], path: Path) -> None:
    """Unpack and check.

    Args:
        source (Path, optional): The archive, or a folder in which it was
            unpacked, which is copied. None downloads it.
        path (Path): The folder to make, named as torchvision's data set.

    Raises:
        PrepareError: If files are missing or the archive is damaged.
    """
    archive = ARCHIVES[path.name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        if source is None:
            source = download(archive.url, Path(folder))
        unpacked = source
        if not source.is_dir():
            unpacked = Path(folder, 'unpacked')
            try:
                with zipfile.ZipFile(source) as file:
                    file.extractall(unpacked)
            except (OSError, zipfile.BadZipFile) as error:
                raise PrepareError(
                    f'{source} cannot be unpacked: {error}') from None
        root = root_of(unpacked, next(iter(archive.counts)))
        for pattern, count in archive.counts.items():
            found = sum(1 for _ in root.glob(pattern))
            if found != count:
                raise PrepareError(f'{source} has {found} files {pattern}, '
                                   f'but wanted are {count}')
        if source.is_dir():
            # Theirs stays as it is, and ours is there whole or not at all.
            root = Path(shutil.copytree(root, Path(folder, 'copied')))
        if archive.split:
            split = root / Path(archive.split).name
            if not split.exists():
                shutil.copy(download(archive.split, Path(folder)), split)
            check_split(split, archive.pairs)
        shutil.move(root, path)


def check_split(path: Path, pairs: Tuple[int, int]) -> None:
    """Refuse a file that does not divide the data as published."""
    lines = path.read_text(errors='replace').split()
    found = lines.count('1'), lines.count('2')
    if found != pairs or len(lines) != sum(pairs):
        raise PrepareError(
            f'{path.name} has {len(lines)} lines, {found[0]} of 1 and '
            f'{found[1]} of 2, but wanted are {pairs[0]} and {pairs[1]}')


def root_of(folder: Path, pattern: str) -> Path:
    """The folder itself or the one below it that has such files."""
    for root in (folder, *sorted(p for p in folder.iterdir() if p.is_dir())):
        if next(root.glob(pattern), None) is not None:
            return root
    raise PrepareError(f'{folder} has no files {pattern}')
