# Copyright (c) mmhkt authors. All rights reserved.
from pathlib import Path
from typing import Sequence, Union

import mmcv
import numpy as np
from PIL import Image


def write_chairs(data_root: Union[str, Path],
                 train: Sequence[dict],
                 val: Sequence[dict] = ()) -> Path:
    """Write pairs as a FlyingChairs tree, which torchvision reads back.

    Args:
        data_root (str | Path): The folder that will hold ``FlyingChairs``.
        train (Sequence[dict]): Pairs with ``img1``, ``img2`` (RGB, uint8,
            (H, W, 3)) and ``gt_flow`` (float32, (H, W, 2)), for instance a
            :class:`SyntheticFlow` without a pipeline.
        val (Sequence[dict]): Those of the ``'val'`` split. Defaults to none.

    Returns:
        Path: The folder written.

    Raises:
        FileExistsError: If there is one already.
        ValueError: If there are fewer than two pairs, which torchvision
            cannot read, or a flow is not known everywhere, which the format
            cannot express.

    Examples:
        >>> from mmhkt.datasets import SyntheticFlow, write_chairs
        >>> write_chairs('data', SyntheticFlow(100), SyntheticFlow(10, seed=1))
        PosixPath('data/FlyingChairs')
    """
    if len(train) + len(val) < 2:
        raise ValueError('A FlyingChairs tree needs at least two pairs.')
    root = Path(data_root, 'FlyingChairs')
    folder = root / 'data'
    root.mkdir(parents=True)
    folder.mkdir()
    splits = []
    for split, pairs in ((1, train), (2, val)):
        for i in range(len(pairs)):
            pair = pairs[i]
            if not np.all(pair['valid']):
                raise ValueError(
                    f'The flow of {pair["img_path"]} is not known everywhere.')
            splits.append(split)
            name = f'{len(splits):05d}'
            for frame in (1, 2):
                Image.fromarray(pair[f'img{frame}']).save(
                    folder / f'{name}_img{frame}.ppm')
            mmcv.flowwrite(pair['gt_flow'], str(folder / f'{name}_flow.flo'))
    # Last, since without it the tree is not read.
    (root / 'FlyingChairs_train_val.txt').write_text(''.join(
        f'{split}\n' for split in splits))
    return root
