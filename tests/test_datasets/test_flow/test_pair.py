# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest

from mmhkt.datasets import make_pair

FRAME = np.zeros((4, 6, 3), np.uint8)
FLOW = np.ones((4, 6, 2), np.float32)


def test_without_flow():
    assert set(make_pair(FRAME, FRAME)) == {'img1', 'img2'}


def test_dense():
    flow = FLOW.copy()
    flow[1, 2] = 1e9, 1e9  # Middlebury's mark
    flow[2, 3, 1] = -1666
    pair = make_pair(FRAME, FRAME, flow)
    assert not pair['sparse'] and pair['valid'].sum() == 22
    assert not pair['valid'][1, 2] and not pair['valid'][2, 3]
    assert pair['gt_flow'].dtype == np.float32
    assert pair['gt_flow'].sum() == 2 * 22


def test_sparse():
    valid = np.zeros((4, 6), bool)
    valid[0, 0] = True
    flow = FLOW.copy()
    flow[3, 3] = np.nan  # not known, so that it may be anything
    pair = make_pair(FRAME, FRAME, flow, valid)
    assert pair['sparse'] and pair['gt_flow'].sum() == 2


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_not_finite(value):
    flow = FLOW.copy()
    flow[1, 2, 0] = flow[3, 3, 1] = value
    with pytest.raises(
            ValueError,
            match='a.flo: the flow of 2 pixels is not a finite number, first '
            'in row 1, column 2'):
        make_pair(FRAME, FRAME, flow, what='a.flo')


@pytest.mark.parametrize('name, arrays', [
    ('second frame', dict(img2=np.zeros((4, 5, 3), np.uint8))),
    ('flow', dict(flow=np.zeros((3, 6, 2)))),
    ('valid mask', dict(flow=FLOW, valid=np.ones((4, 6, 1), bool))),
])
def test_sizes_differ(name, arrays):
    arrays = {**dict(img1=FRAME, img2=FRAME), **arrays}
    with pytest.raises(
            ValueError, match=f'p: the first frame is 4x6 pixels, the {name}'):
        make_pair(**arrays, what='p')


@pytest.mark.parametrize(
    'frame', [FRAME.astype(np.float32), FRAME[..., 0], FRAME[..., :2]])
def test_no_frame(frame):
    with pytest.raises(ValueError, match=r'uint8 of shape \(H, W, 3\)'):
        make_pair(frame, frame)
