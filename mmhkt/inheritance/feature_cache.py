# Copyright (c) mmhkt authors. All rights reserved.
import hashlib
import logging
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Callable, Dict, Iterable, List, Union

import torch
from mmengine.logging import print_log
from torch import Tensor
from torch.utils._pytree import tree_leaves

from .feature_rows import NOTE, FeatureRows, Outputs

# Values that are hashed at once.
CHUNK = 2**22


class FeatureCache:
    """Keeps a frozen network's features on disk, image by image.

    Methods that are compared under one seed see the same images with the
    same augmentations; where an image has few views, flips and no more say,
    every run sees the same ones over and over. So the parent, often the
    larger part of a step, is run on those images only that it has not seen.
    What is kept is told by the network, the image, its type and size, and the
    precision, so that what is read is what would be computed, up to the
    rounding of kernels that depend on the number of images. Runs that go on
    at once may share a folder.

    Images are told by a hash of 128 bits, which is computed where they are, on
    a GPU too, and is safe against accidents. Features are read into
    pinned memory where they are wanted on a GPU.

    The folder grows with the images that were ever seen; it may be removed
    when nothing runs. Nothing that happens to it ends a training: a row that
    is damaged is computed anew, and where nothing can be written nothing more
    is kept, each with a warning.

    Args:
        folder (str | Path): Where to keep them.
        network (str): What tells the network from every other one.

    Attributes:
        asked (int): For how many images features were wanted.
        found (int): For how many of them they were kept.

    Raises:
        ValueError: If there is a file in the folder's place.
    """

    def __init__(self, folder: Union[str, Path], network: str):
        self.folder = Path(folder, network[:16])
        self.asked = self.found = 0
        self._rows: Dict[tuple, FeatureRows] = {}
        self._checked: set = set()
        self._writable = True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.folder):
                pass
        except (FileExistsError, NotADirectoryError):
            raise ValueError(f'parent.cache, "{folder}", must be a folder, '
                             'but there is a file.') from None
        except OSError as error:
            self._give_up(error)

    def features(
            self, images: Tensor, names: Iterable[str],
            compute: Callable[[Tensor], Dict[str,
                                             Outputs]]) -> Dict[str, Outputs]:
        """What the network makes of some images.

        Args:
            images (Tensor): (B, C, H, W).
            names (Iterable[str]): Of the modules whose outputs are wanted.
            compute (Callable): Runs the network on images, and returns the
                outputs of these modules.

        Raises:
            ValueError: If a module returns something other than tensors, or
                not image after image.
        """
        keys = keys_of(images)
        kept = {name: self._of(images, name) for name in names}
        lacking = _lacking(keys, kept)
        if lacking:
            for rows in kept.values():
                rows.refresh()
            lacking = _lacking(keys, kept)
        lacking, parts = self._read(keys, lacking, kept, images.device)
        self.asked += len(keys)
        self.found += len(keys) - len(lacking)
        if not lacking:
            return {
                name: kept[name].layout.outputs(parts[name], images.device)
                for name in kept
            }
        some = images if len(lacking) == len(keys) else images[lacking]
        made = self._made(some, kept, compute)
        new = [keys[number] for number in lacking]
        outputs = {}
        for name, rows in kept.items():
            try:
                bits = rows.layout.rows(made[name], len(some))
            except ValueError as error:
                raise _refused(name, str(error)) from None
            if self._writable:
                try:
                    rows.write(new, bits)
                except OSError as error:
                    self._give_up(error)
            if some is images:
                outputs[name] = made[name]
                continue
            for part, bit in zip(parts[name], bits):
                part.numpy()[lacking] = bit
            outputs[name] = rows.layout.outputs(parts[name], images.device)
        return outputs

    def _read(self, keys: List[bytes], lacking: List[int],
              kept: Dict[str, FeatureRows], device: torch.device) -> tuple:
        """What is there, and the numbers of the images of which something is
        not."""
        parts: Dict[str, List[Tensor]] = {}
        gone = set(lacking)
        for name, rows in kept.items():
            if len(gone) == len(keys):
                break
            parts[name] = rows.layout.empty(len(keys), device.type == 'cuda')
            there = {i: key for i, key in enumerate(keys) if i not in gone}
            damaged = rows.read(there, [part.numpy() for part in parts[name]])
            if damaged:
                print_log(
                    f'{len(damaged)} features in "{rows.folder}" are damaged; '
                    'they are computed anew.',
                    logger='current',
                    level=logging.WARNING)
            gone.update(damaged)
        return sorted(gone), parts

    def _made(self, images: Tensor, kept: Dict[str, FeatureRows],
              compute: Callable) -> Dict[str, Outputs]:
        """Computed; at first also for one image alone, which shows whether
        features are made image by image, and what those of one look like."""
        first = [
            name for name, rows in kept.items() if rows not in self._checked
        ]
        if not first:
            return compute(images)
        alone = compute(images[:1])
        # Beside one image another is made, of which nothing is kept.
        some = images if len(images) > 1 else torch.cat(
            [images, images.flip(-1) + 1])
        made = compute(some)
        for name in first:
            _check_kind(alone[name], name)
            rows = kept[name]
            if rows.layout is None:
                rows.adopt(alone[name])
            try:
                one = rows.layout.outputs([
                    torch.from_numpy(bits[:1])
                    for bits in rows.layout.rows(made[name], len(some))
                ], images.device)
            except ValueError as error:
                raise _refused(name, str(error)) from None
            if not _near(alone[name], one):
                raise _refused(name, 'is not made image by image')
            self._checked.add(rows)
        return made if some is images else alone

    def _of(self, images: Tensor, name: str) -> FeatureRows:
        kind = images.device.type
        amp = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(
            kind)
        about = (kind, images.dtype, tuple(images.shape[1:]), amp,
                 torch.__version__, name, str(NOTE))
        if about not in self._rows:
            digest = hashlib.sha256(str(about).encode()).hexdigest()
            folder = self.folder / f'{name or "whole"}.{digest[:12]}'
            self._rows[about] = FeatureRows(folder)
        return self._rows[about]

    def _give_up(self, error: OSError) -> None:
        self._writable = False
        print_log(
            'No more features of the parent are kept in '
            f'"{self.folder}": {error}.',
            logger='current',
            level=logging.WARNING)

    def size(self) -> int:
        """Bytes in the folder."""
        return sum(file.stat().st_size for file in self.folder.rglob('*')
                   if file.is_file())


def keys_of(images: Tensor) -> List[bytes]:
    """128 bits that tell an image, computed where the images are.

    Args:
        images (Tensor): (B, C, H, W).

    Returns:
        list[bytes]: One an image.
    """
    bits = images.detach().contiguous().flatten(1)
    if bits.device.type == 'cpu':
        return [
            hashlib.blake2b(image, digest_size=16).digest()
            for image in bits.view(torch.uint8).numpy()
        ]
    return _sums(bits)


def _sums(bits: Tensor) -> List[bytes]:
    """Two sums of an image's bits with random odd weights, modulo 2^64."""
    bits = bits.view({
        1: torch.uint8,
        2: torch.int16,
        4: torch.int32,
        8: torch.int64
    }[bits.element_size()])
    sums = torch.zeros(len(bits), 2, dtype=torch.int64, device=bits.device)
    weights = _weights(bits.shape[1], bits.device)
    width = max(1, CHUNK // max(1, len(bits)))
    for part, weight in zip(bits.split(width, 1), weights.split(width, 1)):
        sums += torch.stack([(part * w).sum(1) for w in weight], 1)
    return [row.tobytes() for row in sums.cpu().numpy()]


@lru_cache(maxsize=4)
def _weights(count: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(
        -2**62, 2**62, (2, count), generator=generator, dtype=torch.int64)
    return (2 * drawn + 1).to(device)


def _lacking(keys: List[bytes], kept: Dict[str, FeatureRows]) -> List[int]:
    return [
        number for number, key in enumerate(keys)
        if not all(key in rows for rows in kept.values())
    ]


def _near(one: Outputs, other: Outputs) -> bool:
    """Whether features are the same, up to rounding."""
    for a, b in zip(tree_leaves(one), tree_leaves(other)):
        if isinstance(a, Tensor):
            a, b = a.double(), b.double()
            if a.isfinite().all() and b.isfinite().all() and (
                    a - b).norm() > 0.05 * a.norm() + 1e-6:
                return False
    return True


def _check_kind(outputs: Outputs, name: str) -> None:
    """Refuse what cannot be kept."""

    def walk(item: Any) -> None:
        if type(item) in (tuple, list):
            for part in item:
                walk(part)
        elif type(item) is dict:
            walk(list(item.values()))
        elif isinstance(item, Tensor):
            if not item.dim():
                raise _refused(name, 'is not made image by image')
        elif item is not None and type(item) not in (bool, int, float, str):
            raise _refused(name, f'is a {type(item).__name__}')

    walk(outputs)


def _refused(name: str, why: str) -> ValueError:
    return ValueError(f'What the parent\'s "{name}" returns {why}, which '
                      'cannot be kept on disk; leave parent.cache out.')
