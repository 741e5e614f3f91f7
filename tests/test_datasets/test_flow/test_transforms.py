# Copyright (c) mmhkt authors. All rights reserved.
from functools import lru_cache

import numpy as np
import pytest
import torch

from mmhkt.datasets import (FlowColorJitter, PackFlowInputs, RandomFlowCrop,
                            RandomFlowErase, RandomFlowFlip, SyntheticFlow)
from mmhkt.datasets.flow.spatial import resize_pair
from mmhkt.utils import seed_cpu


@lru_cache(None)
def pairs(size):
    return SyntheticFlow(20, size)


def pair(size=(48, 64), number=0):
    return pairs(size)[number]


def sparse(results, share=0.2):
    """Leave the flow at some pixels only, and mark the others."""
    rng = np.random.default_rng(0)
    results['sparse'] = True
    results['valid'] = rng.random(results['valid'].shape) < share
    results['gt_flow'] = np.where(results['valid'][..., None],
                                  results['gt_flow'], 1e6).astype(np.float32)
    return results


def marked(size=(20, 30)):
    """Every pixel's flow and colour say where it is from."""
    rows, columns = np.indices(size)
    img = np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)
    return dict(
        img1=img,
        img2=img + np.uint8(100),
        gt_flow=np.stack([columns, rows], -1).astype(np.float32),
        valid=rows > columns,
        sparse=False)


class TestFlip:

    @pytest.mark.parametrize('horizontal', [0, 1])
    @pytest.mark.parametrize('vertical', [0, 1])
    def test_by_hand(self, horizontal, vertical):
        before = marked()
        after = RandomFlowFlip(horizontal, vertical)(marked())
        order = (slice(None, None, -1 if vertical else 1),
                 slice(None, None, -1 if horizontal else 1))
        for key in ('img1', 'img2', 'valid'):
            assert np.array_equal(after[key], before[key][order])
        signs = np.float32([1 - 2 * horizontal, 1 - 2 * vertical])
        assert np.array_equal(after['gt_flow'],
                              before['gt_flow'][order] * signs)

    def test_how_often(self):
        seed_cpu(0)
        flip = RandomFlowFlip(0.5, 0.1)
        signs = np.array([
            np.sign(flip(marked())['gt_flow'].mean((0, 1))) for _ in range(400)
        ])
        assert (signs < 0).mean(0) == pytest.approx([0.5, 0.1], abs=0.06)


class TestResize:

    @pytest.mark.parametrize('size', [(96, 128), (24, 32), (60, 64), (37, 91)])
    def test_affine_flow_stays_exact(self, size):
        """A pixel goes where it went, resized."""
        results = SyntheticFlow(1, (48, 64), objects=0)[0]
        flow = results['gt_flow']
        resize_pair(results, size)
        factors = np.array([size[1] / 64, size[0] / 48])
        rows, columns = np.indices(size)
        old = (np.stack([columns, rows], -1) + 0.5) / factors - 0.5
        # An affine flow from three of its values.
        origin, to_right, down = flow[0, 0], flow[0, 1], flow[1, 0]
        wanted = (origin + old[..., :1] * (to_right - origin) + old[..., 1:] *
                  (down - origin)) * factors
        inner = (slice(4, -4), slice(4, -4))
        assert np.allclose(results['gt_flow'][inner], wanted[inner], atol=0.05)
        assert results['img1'].shape == (*size, 3)
        assert results['valid'].all()

    def test_unknown_pixels_do_not_spread(self):
        results = pair()
        results['valid'][10:14, 20:24] = False
        results['gt_flow'][10:14, 20:24] = 0
        wanted = pair()
        for one in (results, wanted):
            resize_pair(one, (72, 96))
        known = results['valid']
        assert 0.98 < known.mean() < 1
        assert np.allclose(
            results['gt_flow'][known], wanted['gt_flow'][known], atol=1e-2)

    @pytest.mark.parametrize('size', [(96, 128), (30, 40), (48, 100)])
    def test_sparse(self, size):
        results = sparse(pair())
        flow, valid = results['gt_flow'], results['valid']
        resize_pair(results, size)
        factors = np.float32([size[1] / 64, size[0] / 48])
        assert results['valid'].sum() <= valid.sum()
        if min(factors) >= 1:
            # Every known pixel is there once.
            assert results['valid'].sum() == valid.sum()
        known = {tuple(value) for value in flow[valid] * factors}
        assert {tuple(v)
                for v in results['gt_flow'][results['valid']]} <= known
        # Nothing of what is not known.
        assert np.abs(results['gt_flow']).max() < 100
        # Where it lies: twice as large, at one of the four pixels.
        if size == (96, 128):
            rows, columns = np.nonzero(valid)
            assert results['valid'][2 * rows + 1, 2 * columns + 1].all()


class TestCrop:

    def test_no_scale(self):
        seed_cpu(1)
        starts = set()
        for _ in range(60):
            after = RandomFlowCrop((16, 24), scale_prob=0)(marked())
            row, column, _ = after['img1'][0, 0].tolist()
            starts.add((row, column))
            cut = (slice(row, row + 16), slice(column, column + 24))
            for key in ('img1', 'img2', 'gt_flow', 'valid'):
                assert np.array_equal(after[key], marked()[key][cut])
        rows, columns = zip(*starts)
        assert set(rows) == set(range(5)) and set(columns) == set(range(7))

    @pytest.mark.parametrize('size', [(48, 64), (33, 64), (48, 30), (20, 20)])
    @pytest.mark.parametrize('is_sparse', [False, True])
    def test_any_size(self, size, is_sparse):
        """Also images that are smaller than the piece."""
        seed_cpu(0)
        crop = RandomFlowCrop((40, 56), min_scale=-1, max_scale=1)
        for i in range(20):
            results = pair(size, i)
            after = crop(sparse(results) if is_sparse else results)
            assert after['img1'].shape == after['img2'].shape == (40, 56, 3)
            assert after['gt_flow'].shape == (40, 56, 2)
            assert after['valid'].shape == (40, 56)
            assert np.isfinite(after['gt_flow']).all()

    def test_scale_and_stretch(self):
        seed_cpu(0)
        crop = RandomFlowCrop((10, 10), min_scale=-0.5, max_scale=0.5)
        sizes = np.array([crop._size((1000, 1000)) for _ in range(500)])
        scales = np.log2(sizes / 1000)
        assert (scales == 0).all(1).mean() == pytest.approx(0.2, abs=0.05)
        assert np.abs(scales).max() <= 0.7 and np.abs(scales).max() > 0.5
        apart = np.abs(scales[:, 0] - scales[:, 1])
        assert apart.max() <= 0.4
        assert (apart > 0.002).mean() == pytest.approx(0.64, abs=0.06)


class TestColour:

    def test_alike_or_each_its_own(self):
        results = pair()
        results['img2'] = results['img1'].copy()
        seed_cpu(0)
        for prob in (0, 1):
            after = FlowColorJitter(asymmetric_prob=prob)(dict(results))
            assert after['img1'].dtype == np.uint8
            assert after['img1'].shape == results['img1'].shape
            assert not np.array_equal(after['img1'], results['img1'])
            alike = np.array_equal(after['img1'], after['img2'])
            assert alike == (prob == 0)


class TestErase:

    def test_second_frame_only(self):
        seed_cpu(0)
        before = pair()
        erase = RandomFlowErase(prob=1, size=(10, 20), most=2)
        shares = []
        for _ in range(50):
            after = erase(dict(before))
            assert after['img1'] is before['img1']
            assert after['gt_flow'] is before['gt_flow']
            gone = (after['img2'] != before['img2']).any(2)
            colours = after['img2'][gone]
            assert np.array_equal(
                colours,
                np.broadcast_to(before['img2'].mean((0, 1)).round(),
                                colours.shape))
            shares.append(gone.sum())
        assert 0 < min(shares) and 400 < max(shares) <= 800
        untouched = RandomFlowErase(prob=0)(dict(before))
        assert np.array_equal(untouched['img2'], before['img2'])


class TestPack:

    def test_pair(self):
        results = RandomFlowFlip(1, 1)(pair())
        packed = PackFlowInputs()(dict(results, sample_idx=4))
        assert set(packed) == {'inputs', 'data_samples'}
        inputs, sample = packed['inputs'], packed['data_samples']
        assert inputs.shape == (6, 48, 64) and inputs.dtype == torch.uint8
        assert np.array_equal(inputs[3:].permute(1, 2, 0), results['img2'])
        assert np.array_equal(
            sample.gt_flow.permute(1, 2, 0), results['gt_flow'])
        assert sample.valid.dtype == torch.bool and sample.valid.all()
        assert sample.sample_idx == 4 and sample.subset == 'SyntheticFlow'

    def test_without_flow(self):
        results = {key: pair()[key] for key in ('img1', 'img2')}
        sample = PackFlowInputs()(results)['data_samples']
        assert 'gt_flow' not in sample and 'valid' not in sample


def test_all_of_them_are_seeded():
    """The same numbers give the same pair, and do not harm the source."""
    crop = RandomFlowCrop((32, 40))
    steps = [
        FlowColorJitter(),
        RandomFlowErase(size=(5, 9)), crop,
        RandomFlowFlip(),
        PackFlowInputs()
    ]
    seen = []
    for _ in range(2):
        seed_cpu(3)
        results = pair()
        for step in steps:
            results = step(results)
        seen.append(results)
    assert torch.equal(seen[0]['inputs'], seen[1]['inputs'])
    assert torch.equal(seen[0]['data_samples'].gt_flow,
                       seen[1]['data_samples'].gt_flow)
