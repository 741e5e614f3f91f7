# Copyright (c) mmhkt authors. All rights reserved.
import glob
import os.path as osp
from typing import List, Optional

from mmengine.dataset import BaseDataset

from mmhkt.registry import DATASETS
from mmhkt.utils.arrays import read_arrays
from .pair import make_pair

KEYS = ('im1', 'im2', 'flow')


@DATASETS.register_module()
class FlowArrays(BaseDataset):
    """Pairs of frames and their flow, each in one ``.npz`` file.

    A file holds ``im1`` and ``im2``, RGB, uint8, (H, W, 3), ``flow`` in
    pixels, (H, W, 2), and optionally ``valid``, bool, (H, W).

    Args:
        files (str): A file or a pattern such as ``'flow/*.npz'``, relative
            to ``data_root``.
        subset (str, optional): What metrics call these pairs. Defaults to
            None: each after its file.
        **kwargs: Other arguments of :class:`mmengine.dataset.BaseDataset`,
            such as ``data_root``, ``pipeline`` and ``indices``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: When a file is read, if it is damaged, lacks an array, or
            its arrays do not fit each other.
    """

    def __init__(self, files: str, subset: Optional[str] = None, **kwargs):
        self.files = files
        self.subset = subset
        super().__init__(ann_file=files, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Find the files."""
        # Only `files` is a pattern; a folder may have brackets in its name.
        folder = glob.escape(self.data_root or '')
        paths = sorted(glob.glob(osp.join(folder, self.files)))
        if not paths:
            raise FileNotFoundError(
                f'There is no file {osp.abspath(self.ann_file)}.')
        return [
            dict(
                img_path=path,
                subset=self.subset or osp.splitext(osp.basename(path))[0])
            for path in paths
        ]

    def get_data_info(self, idx: int) -> dict:
        """Read a pair.

        Args:
            idx (int): The number of the pair.

        Returns:
            dict: See :func:`mmhkt.datasets.flow.make_pair`; and ``img_path``
            and ``subset``.
        """
        info = super().get_data_info(idx)
        path = info['img_path']
        arrays = read_arrays(path, KEYS, optional=('valid', ))
        pair = make_pair(
            *(arrays[key] for key in KEYS), arrays.get('valid'), what=path)
        return dict(info, **pair)
