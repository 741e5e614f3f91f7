# Copyright (c) mmhkt authors. All rights reserved.
from typing import Optional

import numpy as np

# Faster is no motion but the mark of what is not known: 1e9 in Middlebury's
# files, 1e10 in others.
UNKNOWN = 1000.0


def make_pair(img1: np.ndarray,
              img2: np.ndarray,
              flow: Optional[np.ndarray] = None,
              valid: Optional[np.ndarray] = None,
              what: str = 'A pair') -> dict:
    """What the pipelines of flow data sets are given, checked.

    Args:
        img1 (np.ndarray): First frame, RGB, uint8, (H, W, 3).
        img2 (np.ndarray): Second frame.
        flow (np.ndarray, optional): From the first to the second, in pixels,
            (H, W, 2). Defaults to None: not known.
        valid (np.ndarray, optional): Where the flow is known, bool, (H, W).
            Defaults to None: wherever it is slower than 1000 px a frame.
        what (str): What errors call the pair: its file, best.

    Returns:
        dict: ``img1``, ``img2`` and, with a flow, ``gt_flow`` (float32,
        0 where not known), ``valid`` and ``sparse`` (whether the flow is
        known at single pixels only: whether ``valid`` was given).

    Raises:
        ValueError: If sizes differ or a flow that should be known is not
            finite.
    """
    for img in (img1, img2):
        if img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3:
            raise ValueError(
                f'{what}: a frame must be uint8 of shape (H, W, 3), but is '
                f'{img.dtype} of shape {img.shape}.')
    size = img1.shape[:2]
    _same(what, 'second frame', img2.shape[:2], size)
    pair = dict(img1=img1, img2=img2)
    if flow is None:
        return pair
    _same(what, 'flow', flow.shape[:2], size)
    sparse = valid is not None
    if sparse:
        _same(what, 'valid mask', valid.shape, size)
    else:
        # What is not finite is no mark, but an error.
        valid = ~((np.abs(flow) >= UNKNOWN) & np.isfinite(flow)).any(2)
    wrong = valid & ~np.isfinite(flow).all(2)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f'{what}: the flow of {wrong.sum()} pixels is not a finite '
            f'number, first in row {row}, column {column}.')
    flow = np.where(valid[..., None], flow, 0).astype(np.float32)
    return dict(pair, gt_flow=flow, valid=valid, sparse=sparse)


def _same(what: str, name: str, got: tuple, size: tuple) -> None:
    if tuple(got) != tuple(size):
        raise ValueError('{}: the first frame is {}x{} pixels, the {} '.format(
            what, *size, name) + 'x'.join(map(str, got)) + '.')
