# Copyright (c) mmhkt authors. All rights reserved.
"""Archives of optical flow, unpacked to where torchvision looks for them.

Their publishers give no checksums: the archive's own CRC-32 of each file, the
number of files and the published split are checked. All three are for
research; read their terms first.
"""
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple

from . import PrepareError
from .common import download, give_name


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


class Damaged(PrepareError):
    """An archive of which nothing can be made."""


def is_there(path: Path) -> bool:
    """Whether the folder is there.

    Raises:
        PrepareError: If files are missing; none but the split is opened.
    """
    if not path.exists():
        return False
    archive = ARCHIVES[path.name]
    check_counts(path, archive, path)
    if archive.split:
        check_split(path / Path(archive.split).name, archive.pairs)
    return True


def prepare(source: Optional[Path], path: Path) -> None:
    """Unpack and check.

    Args:
        source (Path, optional): The archive, or a folder in which it was
            unpacked, which is copied. None downloads it to beside ``path``,
            where it is kept if a later step fails, and taken the next time.
        path (Path): The folder to make, named as torchvision's data set.

    Raises:
        PrepareError: If files are missing or the archive is damaged.
    """
    archive = ARCHIVES[path.name]
    fetched = kept = None
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        if source is None:
            if archive.split:
                # First, since it is small and nothing can be made without.
                check_split(
                    download(archive.split, Path(folder)), archive.pairs)
            source = path.parent / Path(archive.url).name
            if source.is_file():
                kept = source  # by another try, or put there by someone
            else:
                source = fetched = download(archive.url, path.parent)
        try:
            give_name(make(source, archive, Path(folder)), path)
        except Damaged as error:
            if fetched is not None:
                fetched.unlink()
            if kept is not None:
                raise Damaged(
                    f'{error}; remove it to have it fetched anew') from None
            raise
        except BaseException:
            if fetched is not None:
                print(f'{fetched} is kept for another try', file=sys.stderr)
            raise
    if fetched is not None:
        fetched.unlink(missing_ok=True)


def make(source: Path, archive: Archive, folder: Path) -> Path:
    """The data set's folder, whole, below another one.

    Args:
        source (Path): See :func:`prepare`.
        archive (Archive): What it has to have.
        folder (Path): To work in; has the split, if that was fetched.

    Raises:
        Damaged: If the archive is.
        PrepareError: If files are missing or there is no room for them.
    """
    unpacked = source
    if not source.is_dir():
        unpacked = folder / 'unpacked'
        try:
            with zipfile.ZipFile(source) as file:
                file.extractall(unpacked)
        except OSError as error:  # of the disk, mostly
            raise PrepareError(
                f'{source} cannot be unpacked: {error}') from None
        except Exception as error:  # zipfile and zlib raise many kinds
            raise Damaged(f'{source} is damaged and cannot be unpacked: '
                          f'{error}') from None
    root = root_of(unpacked, next(iter(archive.counts)), source)
    check_counts(root, archive, source)
    split = None
    if archive.split:
        split = root / Path(archive.split).name
        if not split.exists():
            split = download(archive.split, folder)
        check_split(split, archive.pairs)
    if source.is_dir():
        # Theirs stays as it is, and ours is there whole or not at all.
        root = Path(shutil.copytree(root, folder / 'copied'))
    if split is not None and not (root / split.name).exists():
        shutil.copy(split, root)
    return root


def check_counts(root: Path, archive: Archive, what: Path) -> None:
    """Refuse a folder that has not all files."""
    for pattern, count in archive.counts.items():
        found = sum(1 for _ in root.glob(pattern))
        if found != count:
            raise PrepareError(f'{what} has {found} files {pattern}, '
                               f'but wanted are {count}')


def check_split(path: Path, pairs: Tuple[int, int]) -> None:
    """Refuse a file that does not divide the data as published."""
    if not path.is_file():
        raise PrepareError(f'there is no {path}')
    lines = path.read_text(errors='replace').split()
    found = lines.count('1'), lines.count('2')
    if found != pairs or len(lines) != sum(pairs):
        raise PrepareError(
            f'{path.name} has {len(lines)} lines, {found[0]} of 1 and '
            f'{found[1]} of 2, but wanted are {pairs[0]} and {pairs[1]}')


def root_of(folder: Path, pattern: str, what: Path) -> Path:
    """The folder itself or the one below it that has such files."""
    for root in (folder, *sorted(p for p in folder.iterdir() if p.is_dir())):
        if next(root.glob(pattern), None) is not None:
            return root
    raise PrepareError(f'{what} has no files {pattern}')
