# Copyright (c) mmhkt authors. All rights reserved.
from pathlib import Path
from typing import Dict, List, Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset

from mmhkt.registry import DATASETS, TRANSFORMS
from mmhkt.utils import one_of
from mmhkt.utils.files import read_json
from mmhkt.utils.settings import Count, check


def manifest_fields(volumes: Dict[str, dict], slice: str) -> None:
    """What is read of the manifest."""


def volume_fields(split: str, slices: Count,
                  labels: Sequence[Sequence[int]]) -> None:
    """What is read of a volume in it."""


@DATASETS.register_module()
class LiTSDataset(BaseDataset):
    """Axial slices of the `Liver Tumor Segmentation Benchmark
    <https://arxiv.org/abs/1901.04056>`_ (LiTS).

    ``tools/dataset_converters/lits.py`` makes the folder from the challenge's
    volumes. Its slices run from the feet to the head; rows from the front to
    the back, columns from the patient's right to the left.

    Args:
        data_root (str): The folder that the converter wrote.
        split (str): ``'train'``, ``'val'`` or ``'test'``; patients belong to
            one of them. Defaults to ``'train'``.
        neighbours (int): How many slices below and above are further
            channels of an image, 2 x ``neighbours`` + 1 in all; beyond the
            ends of a volume its last slice is repeated. Defaults to 0.
        empty_every (int): Of the slices without liver and tumour, those whose
            number in the volume is a multiple of this are kept. Defaults to
            1, all; whole volumes are needed to be scored.
        **kwargs: Other arguments of :class:`mmengine.dataset.BaseDataset`,
            such as ``pipeline``, which begins with ``mmhkt.LoadSlices``.

    Raises:
        FileNotFoundError: If the folder has no manifest.
        ValueError: If there is no such split, or an argument is impossible.
    """
    METAINFO = dict(
        classes=('background', 'liver', 'tumour'),
        palette=[[0, 0, 0], [204, 102, 51], [255, 255, 102]])

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 neighbours: int = 0,
                 empty_every: int = 1,
                 **kwargs):
        if neighbours < 0 or empty_every < 1:
            raise ValueError(
                'LiTSDataset wants neighbours of 0 or more and empty_every of '
                f'1 or more, but got {neighbours} and {empty_every}.')
        self.split = split
        self.neighbours = neighbours
        self.empty_every = empty_every
        super().__init__(
            ann_file='manifest.json', data_root=data_root, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Read the manifest.

        Returns:
            list[dict]: For each slice ``img_paths``, from the lowest
            neighbour to the highest, ``img_path`` of the slice itself,
            ``seg_map_path``, ``volume``, ``slice`` and the number of
            ``slices`` in the volume.
        """
        if not Path(self.ann_file).is_file():
            raise FileNotFoundError(
                f'There is no {self.ann_file}; tools/dataset_converters/'
                'lits.py makes it from the volumes of LiTS.')
        manifest = read_json(Path(self.ann_file), manifest_fields)
        for volume, entry in manifest['volumes'].items():
            check(
                volume_fields,
                entry,
                f'{self.ann_file}, volume {volume}',
                more=True)
        splits = sorted({v['split'] for v in manifest['volumes'].values()})
        one_of(f'{self.ann_file} has volumes of {", ".join(splits)}; split',
               self.split, splits)
        data_list = []
        for volume, entry in manifest['volumes'].items():
            if entry['split'] == self.split:
                data_list += self._slices(volume, entry, manifest['slice'])
        return data_list

    def _slices(self, volume: str, entry: dict, pattern: str) -> List[dict]:
        last = entry['slices'] - 1
        around = range(-self.neighbours, self.neighbours + 1)

        def path(kind, z):
            number = min(max(z, 0), last)
            return str(
                Path(self.data_root,
                     pattern.format(kind=kind, volume=volume, number=number)))

        return [
            dict(
                img_path=path('images', z),
                img_paths=[path('images', z + step) for step in around],
                seg_map_path=path('masks', z),
                volume=volume,
                slice=z,
                slices=entry['slices'],
                label_map=None,
                reduce_zero_label=False,
                seg_fields=[])
            for z, counts in enumerate(zip(*entry['labels']))
            if any(counts) or z % self.empty_every == 0
        ]


@TRANSFORMS.register_module()
class LoadSlices(BaseTransform):
    """Load a slice with its neighbours.

    Required keys: ``img_paths``. Added keys: ``img``, uint8 of shape
    (H, W, number of paths), ``img_shape`` and ``ori_shape``.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If it is no grey image.
    """

    def transform(self, results: dict) -> dict:
        """See above."""
        results['img'] = np.stack(
            [_read(path) for path in results['img_paths']], axis=2)
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


def _read(path: str) -> np.ndarray:
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if image is None and not Path(path).is_file():
        raise FileNotFoundError(f'There is no slice {path}.')
    if image is None or image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f'{path} is no grey image of 8 bits.')
    return image
