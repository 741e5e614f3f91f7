# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Tuple

import numpy as np

from mmhkt.registry import DATASETS
from .array_dataset import ArrayDataset


@DATASETS.register_module()
class Digits(ArrayDataset):
    """Scikit-learn's handwritten digits: real data without a download.

    1,797 grey 8x8 images of ten classes, the test part of `Optical
    Recognition of Handwritten Digits
    <https://archive.ics.uci.edu/dataset/80>`_, which come inside the
    scikit-learn package. The split is the same each time and keeps the
    classes' shares: 1,198 images to train and 599 to test.

    Args:
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        ValueError: If ``split`` is neither ``'train'`` nor ``'test'``.
        ImportError: If scikit-learn is not installed.
    """
    METAINFO = {'classes': tuple('0123456789')}

    def __init__(self, split: str = 'train', **kwargs):
        if split not in ('train', 'test'):
            raise ValueError(
                f"split of Digits must be 'train' or 'test', got {split!r}")
        super().__init__(data_file='', split=split, **kwargs)

    def _load_arrays(self) -> Tuple[np.ndarray, np.ndarray, None]:
        try:
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise ImportError('Digits needs scikit-learn: '
                              'pip install scikit-learn') from error

        images, labels = load_digits(return_X_y=True)
        train, test = train_test_split(
            np.arange(len(labels)),
            test_size=1 / 3,
            stratify=labels,
            random_state=0)
        chosen = train if self.split == 'train' else test
        # The file counts ink from 0 to 16.
        images = np.round(images[chosen] * (255 / 16)).astype(np.uint8)
        return images.reshape(-1, 8, 8), labels[chosen], None

    def extra_repr(self) -> List[str]:
        """The extra repr information of the dataset."""
        return [f'Split: \t{self.split}']
