# Copyright (c) mmhkt authors. All rights reserved.
"""The converter of LiTS, and volumes for it."""
import json

import nibabel as nib
import numpy as np

from mmhkt.cli import prepare_lits


def save(path, array, affine=None, codes='RAS', spacing=(1, 1, 1)):
    """Write an array, given by axes to the right, front and head, with other
    axes."""
    affine = np.diag([*spacing, 1.]) if affine is None else affine
    image = nib.Nifti1Image(array, affine)
    path.parent.mkdir(parents=True, exist_ok=True)
    there = nib.orientations.axcodes2ornt(codes)
    nib.save(
        image.as_reoriented(
            nib.orientations.ornt_transform(
                nib.orientations.axcodes2ornt('RAS'), there)), path)


def pair(folder, number, hu, labels, suffix='.nii.gz', **kwargs):
    save(folder / f'volume-{number}{suffix}', hu, **kwargs)
    save(folder / f'segmentation-{number}{suffix}', labels, **kwargs)


def voxels(seed=0, shape=(6, 5, 4)):
    """HU and labels, axes to the right, front and head; the lowest slice is
    empty."""
    rng = np.random.default_rng(seed)
    hu = rng.integers(-1000, 1000, shape).astype(np.int16)
    labels = rng.integers(0, 3, shape).astype(np.uint8)
    labels[..., 0] = 0
    return hu, labels


def convert(source, out, *args, workers=2):
    """Convert and return the manifest."""
    prepare_lits.main([
        str(source),
        str(out), '--workers',
        str(workers), *[str(arg) for arg in args]
    ])
    return json.loads((out / 'manifest.json').read_text())


def read_crop(folder):
    """HU and labels of the crop of LiTS, (128, 128, 128) each."""
    return [
        np.fromfile(folder / f'{name}_117.mrc', kind,
                    offset=1024).reshape(128, 128, 128)
        for name, kind in (('img', np.float32), ('lab', np.int16))
    ]
