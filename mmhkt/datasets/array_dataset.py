# Copyright (c) mmhkt authors. All rights reserved.
import os.path as osp
from typing import List, Optional, Tuple

import numpy as np
from mmpretrain.datasets import BaseDataset

from mmhkt.registry import DATASETS
from mmhkt.utils.arrays import read_arrays


@DATASETS.register_module()
class ArrayDataset(BaseDataset):
    """Images and labels from one ``.npz`` file.

    The file holds, for each split, ``{split}_images``, uint8 of shape
    (N, H, W, 3) (RGB), (N, H, W) or (N, H, W, 1) (grey), and
    ``{split}_labels``, whole numbers from 0 on, of shape (N, ) or (N, 1).
    The files of `MedMNIST <https://medmnist.com>`_ with 2D images and one
    label an image are of this kind.

    Grey images are given to the pipeline with three equal channels. The
    images of a split stay in one array, which the workers of a data loader
    share with the main process where they are forked.

    Args:
        data_file (str): The ``.npz`` file, relative to ``data_root``.
        split (str): Which arrays to take: ``'train'``, ``'val'``, ``'test'``
            or any other name that the file uses. Defaults to ``'train'``.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`,
            such as ``data_root``, ``classes``, ``indices`` and ``pipeline``.
            Without ``classes`` there are as many as the largest of the file's
            training labels says.

    Raises:
        FileNotFoundError: If there is no such file.
        KeyError: If the file has no arrays of these names.
        ValueError: If the file cannot be read or its arrays do not fit the
            description above or each other.

    Examples:
        >>> import numpy as np
        >>> from mmhkt.datasets import ArrayDataset
        >>> np.savez(
        ...     'tiny.npz',
        ...     train_images=np.zeros((4, 8, 8, 3), np.uint8),
        ...     train_labels=np.array([0, 1, 2, 1]))
        >>> dataset = ArrayDataset('tiny.npz')
        >>> len(dataset), len(dataset.CLASSES), dataset[3]['gt_label']
        (4, 3, 1)
    """

    def __init__(self, data_file: str, split: str = 'train', **kwargs):
        self.split = split
        super().__init__(ann_file=data_file, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Read and check the arrays.

        Returns:
            list[dict]: ``gt_label`` and, as ``array_idx``, the place of the
            image in the array.
        """
        images, labels, train_labels = self._load_arrays()
        self._images = self._check_images(images)
        labels = self._check_labels(labels, self.split)
        if len(images) != len(labels):
            raise self._error(
                f'{len(images)} {self.split}_images but {len(labels)} '
                f'{self.split}_labels; there must be one label an image')
        if self.CLASSES is None:
            train_labels = self._check_labels(train_labels, 'train')
            self._metainfo['classes'] = tuple(
                str(i) for i in range(int(train_labels.max()) + 1))

        num_classes = len(self.CLASSES)
        outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
        if len(outside):
            raise self._error(
                f'{self.split}_labels[{outside[0]}] is {labels[outside[0]]}, '
                f'but with {num_classes} classes a label must be between 0 '
                f'and {num_classes - 1} ({len(outside)} labels are not)')
        return [
            dict(array_idx=i, gt_label=int(label))
            for i, label in enumerate(labels)
        ]

    def get_data_info(self, idx: int) -> dict:
        """Get one image and its label.

        Args:
            idx (int): The index of the sample.

        Returns:
            dict: ``img``, uint8 of shape (H, W, 3), ``gt_label`` and
            ``sample_idx``.
        """
        info = super().get_data_info(idx)
        img = self._images[info.pop('array_idx')]
        height, width = img.shape[:2]
        # A copy, since transforms may write into the image.
        info['img'] = np.broadcast_to(
            img.reshape(height, width, -1), (height, width, 3)).copy()
        return info

    def _load_arrays(
            self) -> Tuple[np.ndarray, np.ndarray, Optional[np.ndarray]]:
        """Read the file.

        Returns:
            tuple: The images and labels of the split, and the labels that
            tell the number of classes (needed only where it is not given).
        """
        path = osp.abspath(self.ann_file)
        if not osp.isfile(path):
            raise FileNotFoundError(
                f'no data file at {path} (data_root={self.data_root!r}, '
                'relative paths start at the working directory)')
        keys = [f'{self.split}_images', f'{self.split}_labels']
        if self.CLASSES is None:
            keys.append('train_labels')
        arrays = read_arrays(path, keys, optional=())
        return arrays[keys[0]], arrays[keys[1]], arrays.get('train_labels')

    def _check_images(self, images: np.ndarray) -> np.ndarray:
        grey = images.ndim == 3 or images.ndim == 4 and images.shape[3] == 1
        colour = images.ndim == 4 and images.shape[3] == 3
        if images.dtype != np.uint8 or not (grey or colour) \
                or not images.size:
            raise self._error(
                f'{self.split}_images must be uint8 of shape (N, H, W, 3) or '
                f'(N, H, W), not empty, but is {images.dtype} of shape '
                f'{images.shape}')
        return images

    def _check_labels(self, labels: np.ndarray, split: str) -> np.ndarray:
        flat = labels.ndim == 1 or labels.ndim == 2 and labels.shape[1] == 1
        if labels.dtype.kind not in 'iu' or not flat or not labels.size:
            raise self._error(
                f'{split}_labels must be whole numbers of shape (N, ) or '
                f'(N, 1), not empty, but is {labels.dtype} of shape '
                f'{labels.shape}')
        # Signed, so that no comparison or sum can wrap around.
        return labels.reshape(-1).astype(np.int64)

    def _error(self, text: str) -> ValueError:
        return ValueError(f'{osp.abspath(self.ann_file)}: {text}')

    def _copy_without_annotation(self, memo=None) -> 'ArrayDataset':
        # A subset shares the images, which nobody changes, with its origin.
        memo = {} if memo is None else memo
        images = getattr(self, '_images', None)
        memo[id(images)] = images
        return super()._copy_without_annotation(memo)

    def extra_repr(self) -> List[str]:
        """The extra repr information of the dataset."""
        return [f'Data file: \t{self.ann_file}', f'Split: \t{self.split}']
