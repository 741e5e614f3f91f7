# Copyright (c) mmhkt authors. All rights reserved.
import inspect
import os
import re
from pathlib import Path
from typing import Any, List, Optional

import numpy as np
from mmengine.dataset import BaseDataset
from torchvision import datasets

from mmhkt.registry import DATASETS
from mmhkt.utils import nearest, one_of
from mmhkt.utils.files import some_of
from .pair import make_pair

# By how much the numbers in the names of the two frames differ: each frame
# has one, or both have that of their pair or sequence.
STEPS = dict(FlyingChairs=0, FlyingThings3D=1, HD1K=0, KittiFlow=0, Sintel=1)
# What in the path of a frame says which scene it is of; the others have as
# many scenes as pairs.
SCENES = dict(
    FlyingThings3D=r'([^/]+/[^/]+)/[^/]+/[^/]+$',
    HD1K=r'(\d+)_[^/]+$',
    Sintel=r'([^/]+)/[^/]+$')
# Below data_root, for training.
LAYOUTS = dict(
    FlyingChairs='FlyingChairs/data/00001_{img1.ppm,img2.ppm,flow.flo}, '
    'FlyingChairs/FlyingChairs_train_val.txt',
    FlyingThings3D='FlyingThings3D/{frames_cleanpass,frames_finalpass,'
    'optical_flow}/TRAIN',
    HD1K='hd1k/hd1k_input/image_2, hd1k/hd1k_flow_gt/flow_occ',
    KittiFlow='KittiFlow/training/{image_2,flow_occ}',
    Sintel='Sintel/training/{clean,final,flow}/SCENE')


@DATASETS.register_module()
class TorchvisionFlow(BaseDataset):
    """A data set of optical flow that torchvision reads.

    Which folders each expects is in torchvision's documentation. Pairs are
    in the order of their paths, so that it is the same on every machine.

    Args:
        name (str): ``'FlyingChairs'``, ``'FlyingThings3D'``, ``'HD1K'``,
            ``'KittiFlow'`` or ``'Sintel'``.
        data_root (str): The folder that holds the data set's own. Defaults
            to ``'data'``.
        split (str): ``'train'``, or ``'val'`` (Chairs) or ``'test'`` (the
            others; without flow, except Things). Defaults to ``'train'``.
        pass_name (str, optional): ``'clean'``, ``'final'`` or ``'both'`` of
            Sintel and Things. Defaults to None, torchvision's default.
        camera (str, optional): ``'left'``, ``'right'`` or ``'both'`` of
            Things. Defaults to None, torchvision's default.
        only (str, optional): A regular expression that must be found in the
            path of a pair's first image, with ``/`` between folders.
            Defaults to None, all pairs.
        subset (str, optional): What metrics call these pairs. Defaults to
            None: name and pass.
        **kwargs: Other arguments of :class:`mmengine.dataset.BaseDataset`,
            such as ``pipeline`` and ``indices``.

    Raises:
        FileNotFoundError: If the data set is not there.
        ValueError: If a setting does not fit the data set, files are missing
            in between, or a ``.flo`` file is longer or shorter than it says;
            later, when it is read, if a file is damaged or files do not fit
            each other.
    """

    def __init__(self,
                 name: str,
                 data_root: str = 'data',
                 split: str = 'train',
                 pass_name: Optional[str] = None,
                 camera: Optional[str] = None,
                 only: Optional[str] = None,
                 subset: Optional[str] = None,
                 **kwargs):
        self.name = one_of('The data set', name, STEPS)
        self.split = split
        self.options = dict(pass_name=pass_name, camera=camera)
        self.only = only
        self.subset = subset or '-'.join(filter(None, (name, pass_name)))
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Find the pairs.

        Returns:
            list[dict]: ``number`` (torchvision's), ``img_path``,
            ``flow_path`` (if there is a flow), ``subset`` and ``scene`` (where
            several pairs are of one).
        """
        self._source = source = self._open()
        images, flows = source._image_list, source._flow_list
        if flows and len(flows) != len(images):
            raise self._error(
                f'{len(images)} pairs of images, but {len(flows)} flows.')
        chosen = [
            number
            for number in sorted(range(len(images)), key=images.__getitem__)
            if self.only is None
            or re.search(self.only, images[number][0].replace(os.sep, '/'))
        ]
        if not chosen:
            raise self._error(
                f'none of {len(images)} pairs is chosen'
                f'{f" by only={self.only!r}" if self.only else ""}.')
        data_list = []
        for number in chosen:
            info = dict(
                number=number, img_path=images[number][0], subset=self.subset)
            if self.name in SCENES:
                path = info['img_path'].replace(os.sep, '/')
                info['scene'] = re.search(SCENES[self.name], path)[1]
            if flows:
                info['flow_path'] = flows[number]
                check_file(flows[number])
            self._check_names(*images[number], *flows[number:number + 1])
            data_list.append(info)
        return data_list

    def _open(self) -> Any:
        reader = getattr(datasets, self.name)
        options = {k: v for k, v in self.options.items() if v is not None}
        known = list(inspect.signature(reader).parameters)
        for option in options:
            if option not in known:
                raise self._error(
                    f'there is no {option}; {nearest(option, known)}.')
        if self.name == 'FlyingChairs':
            self._check_chairs()
        try:
            return reader(self.data_root, split=self.split, **options)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{self.name} is not whole in the folder '
                f'"{os.path.abspath(self.data_root)}" (data_root): {error}; '
                f'wanted, for training, are {LAYOUTS[self.name]}, and there '
                f'is {some_of(self.data_root)}') from error

    def _check_chairs(self) -> None:
        # torchvision takes the i-th line for the i-th file.
        folder = Path(self.data_root, 'FlyingChairs')
        splits = folder / 'FlyingChairs_train_val.txt'
        if splits.is_file():
            lines = len(splits.read_text().split())
            flows = len(list(folder.glob('data/*.flo')))
            if lines != flows:
                raise self._error(f'{splits.name} tells the split of {lines} '
                                  f'pairs, but there are {flows}.')

    def _check_names(self, *paths: str) -> None:
        # torchvision pairs what is in the same place of two sorted lists.
        first, second, *flow = [
            int(re.search(r'\d+', os.path.basename(path))[0]) for path in paths
        ]
        if (abs(second - first) != STEPS[self.name]
                or any(number != first for number in flow)):
            raise self._error(
                f'{", ".join(paths)} would be taken for a pair; files are '
                'missing or too many.')

    def get_data_info(self, idx: int) -> dict:
        """Read a pair.

        Args:
            idx (int): The number of the pair.

        Returns:
            dict: See :func:`mmhkt.datasets.flow.make_pair`; and
            ``img_path``, ``flow_path`` and ``subset``.
        """
        info = super().get_data_info(idx)
        number, path = info.pop('number'), info['img_path']
        try:
            img1, img2, *truth = self._source[number]
        except Exception as error:  # readers raise many kinds
            raise ValueError(
                f'{path}, its second frame or its flow '
                f'{info.get("flow_path", "")} cannot be read: {error}'
            ) from error
        flow, valid = (*truth, None)[:2]
        if flow is not None:
            flow = flow.transpose(1, 2, 0)
        return dict(
            info,
            **make_pair(
                np.asarray(img1), np.asarray(img2), flow, valid, what=path))

    def _error(self, text: str) -> ValueError:
        return ValueError(f'{self.name}, {self.split} split, in '
                          f'"{os.path.abspath(self.data_root)}": {text}')

    def extra_repr(self) -> List[str]:
        """The extra repr information of the dataset."""
        return [f'Pairs: \t{self.subset}', f'Split: \t{self.split}']


def check_file(path: str) -> None:
    """See that a ``.flo`` file is as long as it says and a PNG has 16 bits;
    others are passed.

    Raises:
        ValueError: If not.
    """
    if not path.endswith(('.flo', '.png')):
        return
    with open(path, 'rb') as file:
        header = file.read(25)
    if path.endswith('.png'):
        # Behind the signature, the length, the name, width and height.
        depth = header[24] if len(header) == 25 else 0
        if depth != 16:
            raise ValueError(f'{path} is a PNG of {depth} bits a channel, but '
                             'flow is kept in 16: it is another file, or was '
                             'converted.')
        return
    header = header[:12]
    size = os.path.getsize(path)
    width, height = np.frombuffer(header[4:],
                                  '<i4') if len(header) == 12 else (0, 0)
    if header[:4] != b'PIEH' or width < 1 or height < 1:
        raise ValueError(f'{path} is no .flo file, or cut short in its first '
                         '12 bytes.')
    wanted = 12 + 8 * int(width) * int(height)
    if size != wanted:
        raise ValueError(
            f'{path} is {size} bytes long, but a flow of {height}x{width} '
            f'pixels, as it says, takes {wanted}: it is '
            f'{"cut short" if size < wanted else "damaged"}.')
