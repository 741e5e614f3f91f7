# Copyright (c) mmhkt authors. All rights reserved.
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple
from uuid import uuid4

import numpy as np
import torch
import xxhash
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from mmhkt.utils.checkpoint import check_whole
from .outputs import copied

# Outputs of a module, one a run of it, each with whether a later operation has
# left it as it was.
Outputs = List[Tuple[Any, bool]]
# Bytes of each of the tensors in outputs, one row an image.
Rows = List[np.ndarray]

# Files that are open at once.
OPEN = 64
# What is noted of a row: the image that it is of, and a checksum.
NOTE = np.dtype([('key', 'V16'), ('checksum', '<u8')])


class Layout:
    """How what a module makes of an image stands in a row of bytes.

    Args:
        example (list): What it makes of one image.
    """

    def __init__(self, example: Outputs):
        self.example = example
        leaves, self._spec = tree_flatten(example)
        self._leaves = [
            leaf[:0] if isinstance(leaf, Tensor) else leaf for leaf in leaves
        ]
        # How many entries an image has, and its axes from the outermost in
        # memory to the innermost.
        self._counts = [len(leaf) for leaf in _tensors(leaves)]
        self._axes = [_axes(leaf) for leaf in _tensors(leaves)]
        self.widths = [leaf.nbytes for leaf in _tensors(leaves)]
        self.width = sum(self.widths)

    def rows(self, outputs: Outputs, images: int) -> Rows:
        """What a module made of some images, as bytes.

        Raises:
            ValueError: If it is not theirs one after the other.
        """
        leaves, spec = tree_flatten(outputs)
        if spec != self._spec or any(not _alike(*pair)
                                     for pair in zip(leaves, self._leaves)):
            raise ValueError('is not made image by image')
        rows = []
        for leaf, count, axes in zip(
                _tensors(leaves), self._counts, self._axes):
            if len(leaf) != images * count:
                raise ValueError('is not made image by image')
            flat = leaf.detach().permute(axes).reshape(images,
                                                       leaf.numel() // images)
            rows.append(flat.contiguous().view(torch.uint8).cpu().numpy())
        return rows

    def empty(self, images: int, pinned: bool) -> List[Tensor]:
        """Room for the rows of some images."""
        return [
            torch.empty(images, width, dtype=torch.uint8, pin_memory=pinned)
            for width in self.widths
        ]

    def outputs(self, rows: Sequence[Tensor], device: torch.device) -> Outputs:
        """What the module made of the images of these rows."""
        given = iter(zip(rows, self._counts, self._axes))
        leaves = []
        for leaf in self._leaves:
            if isinstance(leaf, Tensor):
                row, count, axes = next(given)
                flat = row.to(device, non_blocking=True).view(leaf.dtype)
                stored = [leaf.shape[axis] for axis in axes[1:]]
                back = sorted(range(leaf.dim()), key=axes.__getitem__)
                leaf = flat.view(len(row) * count, *stored).permute(back)
            leaves.append(leaf)
        return tree_unflatten(leaves, self._spec)


class FeatureRows:
    """What one module makes of images, a row an image, in files that grow.

    Each process writes files of its own and reads those of all. A row counts
    when it has been noted, which is after it has been written.

    Args:
        folder (Path): Of this module alone.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.layout: Optional[Layout] = None
        # One may be damaged where another is whole.
        self._places: Dict[bytes, List[Tuple[str, int, int]]] = {}
        self._noted: Dict[str, int] = {}
        self._files: Dict[str, int] = {}
        self._own = uuid4().hex
        self.refresh()

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def refresh(self) -> None:
        """Learn what others have written."""
        example = self.folder / 'example.pt'
        if self.layout is None and example.exists():
            try:
                check_whole(example)
                self.layout = Layout(
                    torch.load(example, map_location='cpu', weights_only=True))
            except Exception:  # whatever torch makes of a damaged file
                with suppress(OSError):
                    example.unlink()
        if self.layout is not None:
            for notes in sorted(self.folder.glob('*.notes')):
                with suppress(OSError):
                    self._learn(notes.stem)

    def _learn(self, name: str) -> None:
        before = self._noted.get(name, 0)
        notes, rows = self._path(name, 'notes'), self._path(name, 'rows')
        width = self.layout.width
        whole = min(notes.stat().st_size // NOTE.itemsize,
                    rows.stat().st_size // width if width else 0)
        if whole <= before:
            return
        found = np.fromfile(
            notes, NOTE, whole - before, offset=before * NOTE.itemsize)
        for row, (key, checksum) in enumerate(found, before):
            self._places.setdefault(key.tobytes(), []).append(
                (name, row, int(checksum)))
        self._noted[name] = whole

    def read(self, keys: Dict[int, bytes], rows: Rows) -> List[int]:
        """Read what is kept of some images.

        Args:
            keys (dict[int, bytes]): Number in the batch -> image.
            rows (list): Where to put it.

        Returns:
            list[int]: The numbers of those that are damaged, and no longer
            known.
        """
        damaged = []
        for number, key in keys.items():
            into = [part[number] for part in rows]
            places = self._places[key]
            while places and not self._read(*places[0], into):
                del places[0]
            if not places:
                damaged.append(number)
                del self._places[key]
        return damaged

    def _read(self, name: str, row: int, checksum: int,
              into: List[np.ndarray]) -> bool:
        width = self.layout.width
        try:
            got = os.preadv(self._file(name), into, row * width)
        except OSError:
            return False
        return got == width and _checksum(into) == checksum

    def write(self, keys: Sequence[bytes], rows: Rows) -> None:
        """Keep what is not kept yet.

        Raises:
            OSError: If there is no room.
        """
        new = {key: i for i, key in enumerate(keys) if key not in self}
        if not new:
            return
        chosen = list(new.values())
        notes = np.empty(len(new), NOTE)
        for place, (key, i) in enumerate(new.items()):
            checksum = _checksum([part[i] for part in rows])
            notes[place] = np.void(key), checksum
        # The file may have been cut short by a full disk.
        at = self._noted.get(self._own, 0)
        with open(self._path(self._own, 'rows'), 'ab') as file:
            file.truncate(at * self.layout.width)
            file.write(
                np.concatenate([part[chosen] for part in rows], 1).tobytes())
        with open(self._path(self._own, 'notes'), 'ab') as file:
            file.truncate(at * NOTE.itemsize)
            file.write(notes.tobytes())
        self._learn(self._own)

    def adopt(self, example: Outputs) -> None:
        """Lay rows out as whoever came first does, who may be this process.

        Args:
            example (list): What the module makes of one image.
        """
        path = self.folder / 'example.pt'
        mine = path.with_name(f'{self._own}.example')
        # Where nothing can be written rows are only read.
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(copied(example), mine)
            with suppress(FileExistsError):
                os.link(mine, path)
        with suppress(OSError):
            mine.unlink()
        self.refresh()
        if self.layout is None:
            self.layout = Layout(example)

    def _path(self, name: str, ending: str) -> Path:
        return self.folder / f'{name}.{ending}'

    def _file(self, name: str) -> int:
        if name not in self._files:
            if len(self._files) == OPEN:
                self.close()
            self._files[name] = os.open(self._path(name, 'rows'), os.O_RDONLY)
        return self._files[name]

    def close(self) -> None:
        """Let go of the files."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __del__(self):
        self.close()


def _tensors(leaves: Sequence[Any]) -> List[Tensor]:
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _axes(leaf: Tensor) -> List[int]:
    # Images stay the outermost.
    return [0] + sorted(range(1, leaf.dim()), key=leaf.stride, reverse=True)


def _alike(leaf: Any, example: Any) -> bool:
    if isinstance(leaf, Tensor) and isinstance(example, Tensor):
        return leaf.dtype == example.dtype and (leaf.shape[1:]
                                                == example.shape[1:])
    return type(leaf) is type(example) and leaf == example


def _checksum(parts: Sequence[np.ndarray]) -> int:
    # Every row is checked whenever it is read: zlib's checksums would take
    # several times as long as reading does.
    checksum = xxhash.xxh3_64()
    for part in parts:
        checksum.update(part)
    return checksum.intdigest()
