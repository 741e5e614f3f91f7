# Copyright (c) mmhkt authors. All rights reserved.
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from torchvision.datasets import _optical_flow

from mmhkt.structures import FlowDataSample


def sample(flow, predicted, valid=None, **meta):
    flow, predicted = torch.as_tensor(flow), torch.as_tensor(predicted)
    if valid is None:
        valid = torch.ones(flow.shape[1:], dtype=torch.bool)
    return FlowDataSample(
        gt_flow=flow.float(),
        pred_flow=predicted.float(),
        valid=torch.as_tensor(valid),
        metainfo=meta)


def scored(samples, **settings):
    evaluator = Evaluator([dict(type='mmhkt.EndPointError', **settings)])
    for one in samples:
        evaluator.process([one])
    return evaluator.evaluate(len(samples))


def by_numpy(samples):
    """The definitions, over the known pixels of all samples."""
    errors, speeds, of_image = [], [], []
    for one in samples:
        known = one.valid.numpy()
        truth = one.gt_flow.numpy().astype(float)[:, known]
        found = one.pred_flow.numpy().astype(float)[:, known]
        error = np.sqrt(((found - truth)**2).sum(0))
        errors.append(error)
        of_image.append(error.mean())
        speeds.append(np.sqrt((truth**2).sum(0)))
    errors, speeds = np.concatenate(errors), np.concatenate(speeds)
    wanted = {
        'EPE': errors.mean(),
        'EPE-image': np.mean(of_image),
        '1px': 100 * np.mean(errors < 1),
        '3px': 100 * np.mean(errors < 3),
        '5px': 100 * np.mean(errors < 5),
        'Fl': 100 * np.mean((errors > 3) & (errors > 0.05 * speeds)),
    }
    for name, among in {
            's0-10': speeds < 10,
            's10-40': (speeds >= 10) & (speeds < 40),
            's40+': speeds >= 40
    }.items():
        if among.any():
            wanted[name] = errors[among].mean()
    return wanted


def test_by_hand():
    """Two images of 4 and 2 known pixels."""
    flow = torch.zeros(2, 2, 3)
    # Speeds 100 (three times), 10 and 0.
    flow[0, 0], flow[1, 1, 0] = 100, 10
    predicted = flow.clone()
    predicted[0, 0, 0] += 4  # more than 3 px, but not than 5 % of 100
    predicted[1, 0, 1] += 6  # an outlier
    predicted[1, 1, 0] += 3  # not more than 3 px
    predicted[:, 1, 2] = torch.nan  # not known, so that it does not count
    valid = torch.tensor([[True, True, False], [True, True, False]])
    first = sample(flow, predicted, valid)
    second = sample(
        torch.zeros(2, 1, 2), torch.tensor([[[0.6, 2.]], [[0.8, 0.]]]))
    assert scored([first, second]) == pytest.approx({
        'EPE': (4 + 6 + 3 + 0 + 1 + 2) / 6,
        'EPE-image': ((4 + 6 + 3 + 0) / 4 + (1 + 2) / 2) / 2,
        '1px':
        100 / 6,  # 1 px is not below 1 px
        '3px':
        300 / 6,
        '5px':
        500 / 6,
        'Fl':
        100 / 6,
        's0-10': (0 + 1 + 2) / 3,
        's10-40':
        3,
        's40+':
        5,
    })


def test_numpy_on_real_pairs(shared_data):
    folder = shared_data / 'flow'
    truths = []
    for name in ('sintel', 'rubberwhale'):
        with np.load(folder / f'flow_{name}.npz') as file:
            truths.append((file['flow'].transpose(2, 0, 1),
                           file['valid'] if 'valid' in file else None))
    truths.append(
        _optical_flow._read_16bits_png_with_flow_and_valid_mask(
            str(folder / 'kitti' / 'flow_gt.png')))
    for i in range(3):
        truths.append((_optical_flow._read_flo(
            str(folder / 'chairs' / f'{i:07d}-gt.flo')), None))
    rng = np.random.default_rng(0)
    samples, still = [], []
    for number, (flow, valid) in enumerate(truths):
        noise = rng.normal(0, 0.5 + number, flow.shape)
        samples.append(
            sample(flow, flow + noise.astype(np.float32), valid, n=number))
        still.append(sample(flow, np.zeros_like(flow), valid, n=number))
    metrics = scored(samples, by='n')
    wanted = by_numpy(samples)
    for number, one in enumerate(samples):
        wanted.update({f'{number}/{k}': v for k, v in by_numpy([one]).items()})
    assert metrics == pytest.approx(wanted, rel=1e-9)
    # KITTI's 16 % of pixels weigh less than as one of six images.
    assert abs(metrics['EPE'] / metrics['EPE-image'] - 1) > 0.05

    metrics = scored(still, by='n')
    errors = [round(metrics[f'{n}/EPE'], 2) for n in range(3)]
    assert errors == [2.80, 1.26, 51.01]


def test_subsets():
    flow = torch.zeros(2, 1, 4)
    samples = [
        sample(flow, flow + 3, subset='a'),
        sample(flow[..., :2], flow[..., :2] + 6, subset='b'),
        sample(flow, flow, subset='a')
    ]
    metrics = scored(samples, by='subset', prefix='flow')
    root = math.sqrt(2)
    assert metrics['flow/EPE'] == pytest.approx(root * (12 + 12) / 10)
    assert metrics['flow/a/EPE'] == pytest.approx(root * 12 / 8)
    assert metrics['flow/b/EPE-image'] == pytest.approx(root * 6)
    assert 'flow/s10-40' not in metrics and 'flow/b/s0-10' in metrics


def test_nothing_known_in_an_image():
    flow = torch.zeros(2, 1, 4)
    none = torch.zeros(1, 4, dtype=torch.bool)
    metrics = scored([sample(flow, flow + 1), sample(flow, flow, none)])
    assert metrics['EPE'] == metrics['EPE-image'] == pytest.approx(2**0.5)
    with pytest.raises(ValueError, match='No pixel of any image'):
        scored([sample(flow, flow, none)])


def test_a_prediction_that_is_no_number_is_seen():
    flow = torch.zeros(2, 1, 4)
    assert math.isnan(scored([sample(flow, flow * torch.nan)])['EPE'])


def test_errors():
    without = FlowDataSample(
        pred_flow=torch.zeros(2, 1, 4), metainfo=dict(img_path='t.png'))
    with pytest.raises(ValueError, match='t.png has no true flow'):
        scored([without])
    flow = torch.zeros(2, 1, 4)
    with pytest.raises(ValueError, match='by="subse".*nearest: subset'):
        scored([sample(flow, flow, subset='a')], by='subse')


def images():
    rng = torch.Generator().manual_seed(0)
    for i in range(5):
        flow = torch.randn(2, 3, 4 + i, generator=rng) * 20
        noise = torch.randn(flow.shape, generator=rng) * (1 + i)
        valid = torch.rand(flow.shape[1:], generator=rng) > 0.3
        yield sample(flow, flow + noise, valid)


# One of two processes; the first image comes twice, as samplers pad.
RANK = """
import sys
sys.path.insert(0, sys.argv[4])
import json
import torch.distributed as dist
from test_end_point_error import images
from mmhkt.evaluation import EndPointError
rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group('gloo', f'file://{store}', rank=rank, world_size=2)
metric = EndPointError()
given = list(images())
for image in (given + given[:1])[rank::2]:
    metric.process(None, [image.to_dict()])
metrics = metric.evaluate(len(given))
with open(f'{out}/{rank}.json', 'w') as file:
    json.dump(metrics, file)
# Else gloo's threads may end the process with an error.
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes(tmp_path):
    ranks = [
        subprocess.Popen([
            sys.executable, '-c', RANK,
            str(rank), tmp_path / 'store', tmp_path,
            Path(__file__).parent
        ]) for rank in (0, 1)
    ]
    assert [process.wait(timeout=300) for process in ranks] == [0, 0]
    together = list(images())
    wanted = scored(together)
    assert wanted == pytest.approx(by_numpy(together))
    for rank in (0, 1):
        metrics = json.loads((tmp_path / f'{rank}.json').read_text())
        assert metrics == pytest.approx(wanted)


def test_a_prediction_that_is_no_number_is_an_outlier():
    found = scored([sample(np.zeros((2, 2, 2)), np.full((2, 2, 2), np.nan))])
    assert found['Fl'] == 100
