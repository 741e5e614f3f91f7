# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt prepare lits`` does: volumes to slices."""
import hashlib
import json
import os
import re
import shutil
import threading
import time
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from mmhkt.utils.files import read_json, some_of, write_text
from . import PrepareError

try:
    import nibabel
except ImportError:
    raise PrepareError('nibabel is needed to read the volumes: '
                       'pip install "mmhkt[lits]"') from None

LABELS = ('background', 'liver', 'tumour')
SLICE = '{kind}/{volume}/{number:04d}.png'
# Of how volumes are cut, see `done`.
VERSION = 2


class Unusable(ValueError):
    """A volume that cannot be used; says which file and why."""


@dataclass(frozen=True)
class Settings:
    """What decides how slices look.

    Attributes:
        window (list[float]): HU that become 0 and 255.
        spacing (float, optional): Of pixels, in mm, to which slices are
            resampled; None leaves them as they are.
        mask_affine (bool): Whether a mask has to lie where its volume does.
    """
    window: List[float]
    spacing: Optional[float]
    mask_affine: bool


def run(args: Namespace) -> None:
    """Do what the command line says."""
    settings = Settings(
        list(args.window), args.spacing, not args.ignore_mask_affine)
    pairs = find(args.source)
    if not pairs:
        raise PrepareError('there is no volume-N.nii or .nii.gz in '
                           f'{args.source}, as LiTS has them beside their '
                           'segmentation-N; there is '
                           f'{some_of(args.source)}')
    file = args.out / 'manifest.json'
    splits = split(list(pairs), args.val, args.test, args.seed)
    if not args.resplit:
        check_splits(file, splits)
    # Whatever interrupts this, no manifest tells of slices that are others.
    if not all(
            done(number, *pair, args.out, settings)
            for number, pair in pairs.items()):
        file.unlink(missing_ok=True)
    records, problems, killed = {}, {}, []
    for number, found in cut_all(pairs, args.out, settings, args.workers):
        if isinstance(found, dict):
            records[number] = found
        elif isinstance(found, BrokenProcessPool):
            killed.append(number)
        else:
            problems[number] = found
    # A process that is killed takes those beside it along: each by itself.
    for number in killed:
        (_, found), = cut_all({number: pairs[number]}, args.out, settings, 1)
        if isinstance(found, dict):
            records[number] = found
        else:
            problems[number] = found if isinstance(found, str) else (
                f'volume {number}: a process was killed, probably for want '
                'of memory; try fewer --workers')

    manifest = dict(
        settings=asdict(settings),
        split=dict(val=args.val, test=args.test, seed=args.seed),
        slice=SLICE,
        volumes={
            number: dict(split=splits[number], **records[number])
            for number in pairs if number in records
        },
        unusable={n: problems[n]
                  for n in pairs if n in problems})
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(manifest) + '\n', durable=True)
    report(manifest)
    print(f'{file} is written')
    if problems:
        raise SystemExit(1)


def cut_all(pairs: dict, out: Path, settings: Settings,
            workers: int) -> Iterator[Tuple[str, Any]]:
    """Cut volumes in several processes, which end when this one does.

    Yields:
        tuple: The number, and the entry in the manifest, what was wrong with
        the volume, or a BrokenProcessPool.
    """
    with ProcessPoolExecutor(
            min(workers, len(pairs)),
            initializer=end_with,
            initargs=(os.getpid(), )) as pool:
        jobs = {
            pool.submit(convert, number, *pair, out, settings): number
            for number, pair in pairs.items()
        }
        for job in track(
                as_completed(jobs),
                'Volumes',
                total=len(jobs),
                console=Console(stderr=True)):
            try:
                found = job.result()
            except Unusable as error:
                found = str(error)
            except BrokenProcessPool as error:
                found = error
            except Exception as error:
                # The others are not the worse for it.
                found = f'volume {jobs[job]}: {type(error).__name__}: {error}'
            yield jobs[job], found


def end_with(parent: int) -> None:
    """End this process when its parent is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def done(number: str, volume_file: Optional[Path], mask_file: Optional[Path],
         out: Path, settings: Settings) -> Optional[dict]:
    """What was written of a volume with these settings from these files;
    None if nothing was."""
    if volume_file is None or mask_file is None:
        return None
    try:
        record = json.loads((out / 'volumes' / f'{number}.json').read_text())
        made_by, times = record.pop('settings'), record.pop('times')
        # Until version 2 masks were turned by an affine that was to be
        # ignored.
        right = record.pop('version', 1) >= VERSION or settings.mask_affine
        now = [path.stat().st_mtime_ns for path in (volume_file, mask_file)]
        same = times == now or record['sha256'].items() >= dict(
            volume=sha256(volume_file),
            segmentation=sha256(mask_file)).items()
        whole = all_there(number, record['slices'], out)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not (same and right and whole):
        return None
    return record if made_by == asdict(settings) else None


def all_there(number: str, slices: int, out: Path) -> bool:
    """Whether each slice of a volume has its file; what is in it is not
    looked at."""
    for kind in ('images', 'masks'):
        # One listing of the folder is quicker than a question for each.
        there = {path.name for path in (out / kind / number).iterdir()}
        wanted = (
            SLICE.format(kind=kind, volume=number, number=z)
            for z in range(slices))
        if not there.issuperset(Path(path).name for path in wanted):
            return False
    return True


def report(manifest: dict) -> None:
    """Say what there is now and what is left out."""
    for name in ('train', 'val', 'test'):
        chosen = [
            v for v in manifest['volumes'].values() if v['split'] == name
        ]
        print(f'{name}: {len(chosen)} volumes, '
              f'{sum(v["slices"] for v in chosen)} slices')
    for problem in manifest['unusable'].values():
        print(f'left out: {problem}')


def find(source: Path) -> Dict[str, Tuple[Optional[Path], Optional[Path]]]:
    """Find the volumes and their masks.

    Args:
        source (Path): A folder.

    Returns:
        dict[str, tuple[Path | None, Path | None]]: Number -> the two files,
        by number.

    Raises:
        PrepareError: If a number is there twice.
    """
    found: Dict[str, Dict[str, Path]] = dict(volume={}, segmentation={})
    for path in sorted(source.rglob('*.nii*')):
        name = re.fullmatch(r'(volume|segmentation)-(\d+)\.nii(\.gz)?',
                            path.name)
        if name is None:
            continue
        kind, number = name[1], name[2]
        if number in found[kind]:
            raise PrepareError(f'{found[kind][number]} and {path} are of one '
                               'number; remove one')
        found[kind][number] = path
    numbers = sorted({n for files in found.values() for n in files}, key=int)
    return {
        n: tuple(files.get(n) for files in found.values())
        for n in numbers
    }


def split(numbers: List[str], val: float, test: float,
          seed: int) -> Dict[str, str]:
    """Divide patients.

    Args:
        numbers (list[str]): The patients'.
        val (float): Share for validation, of which whole patients are taken.
        test (float): Share for testing.
        seed (int): Of the permutation.

    Returns:
        dict[str, str]: Number -> ``'train'``, ``'val'`` or ``'test'``.
    """
    order = np.random.default_rng(seed).permutation(sorted(numbers, key=int))
    ends = np.rint(np.cumsum([test, val]) * len(order)).astype(int)
    names = ['test'] * ends[0] + ['val'] * (ends[1] - ends[0])
    names += ['train'] * (len(order) - len(names))
    return dict(zip(order.tolist(), names))


def manifest_fields(volumes: Dict[str, dict]) -> None:
    """What is read of a manifest that is there already."""


def check_splits(file: Path, splits: Dict[str, str]) -> None:
    """Check that no patient is in another split than before.

    The permutation is of all patients, so that a further one moves others.
    A network that was trained on some of them would then be tested on what it
    has learned from.

    Args:
        file (Path): The manifest, if there is one already.
        splits (dict[str, str]): Number -> the new split.

    Raises:
        PrepareError: If patients would move.
    """
    manifest = read_json(file, manifest_fields)
    before = {} if manifest is None else manifest['volumes']
    moved = [
        number for number, entry in before.items()
        if splits.get(number, entry.get('split')) != entry.get('split')
    ]
    if moved:
        raise PrepareError(
            f'{len(moved)} of the {len(before)} patients in {file} would move '
            'from one split to another, since volumes, --val, --test or '
            '--seed are not what they were; write to another folder, or move '
            'them with --resplit and train anew')


def convert(number: str, volume_file: Optional[Path],
            mask_file: Optional[Path], out: Path, settings: Settings) -> dict:
    """Cut one volume.

    Args:
        number (str): The volume's.
        volume_file (Path, optional): With its HU.
        mask_file (Path, optional): With its labels.
        out (Path): Folder to write to.
        settings (Settings): How.

    Returns:
        dict: Its entry in the manifest.

    Raises:
        Unusable: If it cannot be used.
    """
    if mask_file is None:
        raise Unusable(f'{volume_file} has no segmentation-{number}.nii')
    if volume_file is None:
        raise Unusable(f'{mask_file} has no volume-{number}.nii')
    record_file = out / 'volumes' / f'{number}.json'
    files = volume_file, mask_file
    record = done(number, *files, out, settings)
    if record is not None:
        return record
    record_file.unlink(missing_ok=True)
    times = [path.stat().st_mtime_ns for path in files]
    source = {path.name: path.stat().st_size for path in files}

    volume = read(volume_file)
    mask = read(mask_file, None if settings.mask_affine else volume.affine)
    volume, mask = map(nibabel.as_closest_canonical, (volume, mask))
    check(volume_file, volume, mask_file, mask, settings)
    hu, labels = axial(volume), axial(mask)
    check_voxels(volume_file, hu, mask_file, labels)

    spacing = voxel_size(volume)
    for kind in ('images', 'masks'):
        shutil.rmtree(out / kind / number, ignore_errors=True)
        (out / kind / number).mkdir(parents=True)
    sums = {kind: hashlib.sha256() for kind in ('images', 'masks')}
    counts: List[List[int]] = [[] for _ in LABELS[1:]]
    for z, planes in enumerate(zip(hu, labels)):
        for kind, plane in zip(sums, cut(*planes, spacing, settings)):
            content = cv2.imencode('.png', plane)[1].tobytes()
            path = SLICE.format(kind=kind, volume=number, number=z)
            (out / path).write_bytes(content)
            sums[kind].update(content)
        for label, count in enumerate(counts, 1):
            count.append(int((plane == label).sum()))
    record = dict(
        slices=len(hu),
        size=list(plane.shape),
        # Of a voxel in mm: down a column, along a row, from slice to slice.
        spacing=[settings.spacing or s for s in spacing[:2]] + [spacing[2]],
        labels=counts,
        bytes=source,
        sha256=dict(
            volume=sha256(volume_file),
            segmentation=sha256(mask_file),
            **{
                kind: total.hexdigest()
                for kind, total in sums.items()
            }))
    record_file.parent.mkdir(exist_ok=True)
    # Last, so that it marks the volume as done.
    write_text(
        record_file,
        json.dumps(
            dict(
                version=VERSION,
                settings=asdict(settings),
                times=times,
                **record)))
    return record


def read(path: Path,
         affine: Optional[np.ndarray] = None) -> nibabel.Nifti1Image:
    """Read a file, with its axes as they lie in it.

    Args:
        path (Path): The file.
        affine (ndarray, optional): To take in place of the file's own.

    Raises:
        Unusable: If it cannot be read.
    """
    try:
        image = nibabel.load(path)
        voxels = np.asarray(image.dataobj, np.float32)
    except Exception as error:
        # Each of nibabel's readers has errors of its own.
        raise Unusable(f'{path} cannot be read ({type(error).__name__}: '
                       f'{error})') from None
    if voxels.ndim == 4 and voxels.shape[3] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or not voxels.size:
        raise Unusable(f'{path} is of shape {voxels.shape}, but a volume has '
                       'three axes')
    affine = image.affine if affine is None else affine
    if not abs(np.linalg.det(affine)) > 0:
        raise Unusable(f'{path} has an affine without an inverse')
    return nibabel.Nifti1Image(voxels, affine)


def check(volume_file: Path, volume, mask_file: Path, mask,
          settings: Settings) -> None:
    """Check that volume and mask lie at the same place.

    Raises:
        Unusable: If not.
    """
    if volume.shape != mask.shape:
        raise Unusable(f'{volume_file} is of shape {volume.shape}, '
                       f'{mask_file.name} of {mask.shape} (axes to the right, '
                       'front and head)')
    if not settings.mask_affine:
        return
    ends = np.array(volume.shape) - 1
    corners = np.array(np.meshgrid(*[(0, end) for end in ends]))
    corners = corners.reshape(3, -1).T
    apart = np.abs(
        nibabel.affines.apply_affine(volume.affine, corners) -
        nibabel.affines.apply_affine(mask.affine, corners)).max()
    if not apart < 0.5 * min(voxel_size(volume)):
        raise Unusable(
            f'{mask_file} lies up to {apart:.1f} mm from {volume_file.name}, '
            'by its affine; --ignore-mask-affine takes it to be wrong')


def check_voxels(volume_file: Path, hu: np.ndarray, mask_file: Path,
                 labels: np.ndarray) -> None:
    """Check what volume and mask hold.

    Raises:
        Unusable: If that cannot be.
    """
    bad = hu.size - int(np.isfinite(hu).sum())
    if bad:
        raise Unusable(f'{volume_file} has {bad} voxels that are no number '
                       '(NaN or infinite)')
    present = np.unique(labels)
    outside = [f'{v:g}' for v in present if v not in range(len(LABELS))]
    if outside:
        raise Unusable(f'{mask_file} has the labels {", ".join(outside[:5])}; '
                       'LiTS has 0, 1 and 2')
    if not present.any():
        raise Unusable(f'{mask_file} has no voxel of liver or tumour')


def voxel_size(image) -> List[float]:
    """Size of a voxel in mm: of rows, columns and slices as they are cut."""
    right, front, head = nibabel.affines.voxel_sizes(image.affine).tolist()
    return [front, right, head]


def axial(image) -> np.ndarray:
    """Slices from the feet to the head, their rows from front to back, their
    columns from the patient's right to the left."""
    return np.asarray(image.dataobj)[::-1, ::-1].transpose(2, 1, 0)


def cut(hu: np.ndarray, labels: np.ndarray, spacing: List[float],
        settings: Settings) -> Tuple[np.ndarray, np.ndarray]:
    """One slice as it is written.

    Args:
        hu (ndarray): (H, W).
        labels (ndarray): (H, W).
        spacing (list[float]): See :func:`voxel_size`.
        settings (Settings): How.

    Returns:
        tuple[ndarray, ndarray]: Grey values and labels, uint8.
    """
    low, high = settings.window
    grey = (np.clip(hu, low, high) - low) * (255 / (high - low))
    labels = labels.astype(np.uint8)
    if settings.spacing is not None:
        size = [
            max(1, round(length * mm / settings.spacing))
            for length, mm in zip(grey.shape, spacing)
        ][::-1]
        grey = cv2.resize(
            np.ascontiguousarray(grey),
            size,
            interpolation=cv2.INTER_AREA
            if settings.spacing > max(spacing[:2]) else cv2.INTER_LINEAR)
        labels = cv2.resize(
            labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.rint(grey).astype(np.uint8), labels


def sha256(path: Path) -> str:
    """Checksum of a file."""
    total = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()
