# Copyright (c) mmhkt authors. All rights reserved.
from functools import lru_cache
from typing import List, Tuple

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset

from mmhkt.registry import DATASETS, TRANSFORMS
from mmhkt.utils import one_of
from mmhkt.utils.settings import NotNegative

# Of slices, 1 mm each, from the first one with tissue on, over and over. A
# gap belongs to no split: neighbouring slices are nearly the same image.
SLABS = (('train', 24), ('gap', 4), ('val', 7), ('gap', 4), ('test', 7),
         ('gap', 4))
# Columns from right to left, rows from front to back: the brain with a
# margin, 192 x 160 pixels, which networks of stride 32 divide.
ROWS, COLUMNS = slice(20, 212), slice(19, 179)


@DATASETS.register_module()
class MNI152(BaseDataset):
    """Tissues of the `MNI152 template
    <https://doi.org/10.1016/j.neuroimage.2010.07.033>`_ of the human brain:
    real data without a download.

    The template is the average of T1-weighted scans of 152 persons; it comes
    inside the nilearn package, with maps of how probable grey and white
    matter are. A pixel is of the likelier of the two where either reaches
    0.5, else background. Fluid is background too: there is no map of it.

    Axial slices 1 mm apart, 192 x 160 pixels of 1 mm, as
    :class:`LiTSDataset` has them: from the feet to the head, rows from the
    front to the back, columns from the patient's right to the left. They are
    divided by slabs of consecutive slices, again and again 24 to train, 7 to
    validate and 7 to test, with 4 unused ones between; 72, 21 and 21 in all.

    Args:
        split (str): ``'train'``, ``'val'`` or ``'test'``. Defaults to
            ``'train'``.
        noise (float): Standard deviation of the Rician noise that is added,
            always the same, as a share of the brightest voxel: the average of
            so many scans has less noise than any of them. Defaults to 0.
        **kwargs: Other arguments of :class:`mmengine.dataset.BaseDataset`,
            such as ``pipeline``, which begins with ``mmhkt.LoadSliceArrays``.

    Raises:
        ImportError: If nilearn is not installed.
        ValueError: If there is no such split, or ``noise`` is negative.
    """
    METAINFO = dict(
        classes=('background', 'grey matter', 'white matter'),
        palette=[[0, 0, 0], [204, 102, 51], [255, 255, 204]])

    def __init__(self,
                 split: str = 'train',
                 noise: NotNegative = 0.,
                 **kwargs):
        splits = sorted({name for name, _ in SLABS} - {'gap'})
        one_of('MNI152: split', split, splits)
        self.split = split
        self.noise = noise
        super().__init__(**kwargs)

    def load_data_list(self) -> List[dict]:
        """Cut the template.

        Returns:
            list[dict]: For each slice ``img`` (192, 160, 1) and
            ``gt_seg_map`` (192, 160), uint8; ``volume``, the name of its
            slab, its place ``slice`` there and the number of ``slices`` of
            the slab; ``img_path``, a name and no file.
        """
        grey, labels = _volume(self.noise)
        data_list = []
        for split, begin, end in _slabs(labels):
            if split != self.split:
                continue
            data_list += [
                dict(
                    img=grey[z, ..., None],
                    gt_seg_map=labels[z],
                    img_path=f'mni152-{z:03d}',
                    volume=f'{begin:03d}-{end - 1:03d}',
                    slice=z - begin,
                    slices=end - begin,
                    reduce_zero_label=False) for z in range(begin, end)
            ]
        return data_list


def _slabs(labels: np.ndarray) -> List[Tuple[str, int, int]]:
    """Split, first slice and the one after the last of each whole slab."""
    tissue = np.flatnonzero(labels.any((1, 2)))
    z, slabs = int(tissue[0]), []
    while True:
        for split, count in SLABS:
            if z + count > tissue[-1] + 1:
                return slabs
            slabs.append((split, z, z + count))
            z += count


# Three splits are mostly made of one volume.
@lru_cache(1)
def _volume(noise: float) -> Tuple[np.ndarray, np.ndarray]:
    """Grey values and labels, uint8, (slices, 192, 160)."""
    try:
        from nilearn import datasets
    except ImportError as error:
        raise ImportError('MNI152 needs nilearn, which has the template: '
                          'pip install "mmhkt[demo-seg]"') from error

    # Axes to the right, front and head; T1 from 0 to 1.
    t1, *tissues = (
        np.asarray(image.dataobj)[::-1, ::-1].transpose(2, 1, 0)[:, ROWS,
                                                                 COLUMNS]
        for image in (datasets.load_mni152_template(resolution=1),
                      datasets.load_mni152_gm_template(resolution=1),
                      datasets.load_mni152_wm_template(resolution=1)))
    if noise:
        rng = np.random.default_rng(0)
        real, imaginary = rng.normal(0, noise, (2, *t1.shape))
        t1 = np.hypot(t1 + real, imaginary)
    grey = np.rint(255 * t1.clip(0, 1)).astype(np.uint8)
    labels = np.argmax(tissues, 0) + 1
    labels[np.max(tissues, 0) < 0.5] = 0
    return grey, labels.astype(np.uint8)


@TRANSFORMS.register_module()
class LoadSliceArrays(BaseTransform):
    """Take a slice and its labels as the data set has them, without a file.

    Required keys: ``img`` (H, W, C) and ``gt_seg_map`` (H, W). Added keys:
    ``img_shape``, ``ori_shape`` and ``seg_fields``.
    """

    def transform(self, results: dict) -> dict:
        """See above."""
        # What follows may write into them; they are the data set's.
        results['img'] = results['img'].copy()
        results['gt_seg_map'] = results['gt_seg_map'].copy()
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        results['seg_fields'] = ['gt_seg_map']
        return results
