# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.datasets import FlyingChairs

from mmhkt.datasets import SyntheticFlow, TorchvisionFlow, write_chairs
from mmhkt.utils import seed_cpu

KEYS = ('img1', 'img2', 'gt_flow', 'valid')


def same(one, other):
    return all(np.array_equal(one[key], other[key]) for key in KEYS)


def test_a_pair():
    pair = SyntheticFlow(length=2, size=(48, 64))[1]
    assert pair['img1'].shape == pair['img2'].shape == (48, 64, 3)
    assert pair['img1'].dtype == np.uint8
    assert pair['gt_flow'].shape == (48, 64, 2)
    assert pair['gt_flow'].dtype == np.float32
    assert pair['valid'].all() and not pair['sparse']


def test_depends_on_seed_and_number_alone():
    wanted = SyntheticFlow(length=4)[3]
    others = SyntheticFlow(length=9, indices=[3, 1])
    others[1]
    seed_cpu(7)
    assert same(wanted, others[0])
    assert not same(wanted, SyntheticFlow(length=4)[2])
    assert not same(wanted, SyntheticFlow(length=4, seed=1)[3])


def test_how_far_things_move():
    speeds = np.concatenate([
        np.linalg.norm(pair['gt_flow'], axis=2).ravel()
        for pair in SyntheticFlow(length=40)
    ])
    assert 4.5 < speeds.mean() < 6.5
    # An object shifted by 8 px to both sides, turned and scaled.
    assert 10 < speeds.max() < 20


def test_flow_is_what_happens():
    """The second frame, looked up where the flow ends, is the first one."""
    still, moved = [], []
    for pair in SyntheticFlow(length=10):
        flow = torch.from_numpy(pair['gt_flow'])
        height, width = flow.shape[:2]
        ends = flow + torch.stack(
            torch.meshgrid(
                torch.arange(width), torch.arange(height), indexing='xy'), -1)
        ends = 2 * ends / torch.tensor([width - 1, height - 1]) - 1
        inside = (ends.abs() < 1).all(-1).numpy()
        found = F.grid_sample(
            torch.from_numpy(pair['img2']).permute(2, 0, 1)[None].float(),
            ends[None],
            align_corners=True)[0].permute(1, 2, 0).numpy()
        first = pair['img1'].astype(np.float32)
        gain = np.median(first[inside] / np.maximum(found[inside], 1))
        moved.append(np.median(np.abs(first - gain * found)[inside]))
        still.append(np.median(np.abs(first - pair['img2'])[inside]))
    # What is left is noise.
    assert np.mean(moved) < 6 < 12 < np.mean(still)


def test_no_objects():
    flow = SyntheticFlow(length=1, objects=0)[0]['gt_flow']
    # Affine: second differences vanish.
    for axis in (0, 1):
        assert np.abs(np.diff(flow, 2, axis=axis)).max() < 1e-4


def test_written_as_flying_chairs(tmp_path):
    """Read back by torchvision, and by our own reader, without a loss."""
    train, val = SyntheticFlow(3, (40, 48)), SyntheticFlow(2, (40, 48), seed=1)
    assert write_chairs(tmp_path, train, val) == tmp_path / 'FlyingChairs'
    for split, pairs in (('train', train), ('val', val)):
        theirs = FlyingChairs(tmp_path, split=split)
        ours = TorchvisionFlow(
            'FlyingChairs', data_root=str(tmp_path), split=split)
        assert len(theirs) == len(ours) == len(pairs)
        for pair, their, our in zip(pairs, theirs, ours):
            assert np.array_equal(pair['img1'], their[0])
            assert np.array_equal(pair['img2'], their[1])
            error = np.abs(pair['gt_flow'].transpose(2, 0, 1) - their[2])
            assert error.max() == 0.0
            assert same(pair, our)
    with pytest.raises(FileExistsError):
        write_chairs(tmp_path, train)


def test_what_chairs_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match='at least two'):
        write_chairs(tmp_path, SyntheticFlow(1))
    pairs = list(SyntheticFlow(2, (32, 32)))
    pairs[1]['valid'][0, 0] = False
    with pytest.raises(ValueError, match='pair 1 of seed 0 is not known'):
        write_chairs(tmp_path, pairs)
