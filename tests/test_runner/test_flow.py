# Copyright (c) mmhkt authors. All rights reserved.
"""Flow networks trained by mmengine's runner and by ours."""
import pytest
import torch
from flow_helpers import flow_config
from helpers import read, run
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torchvision.models.optical_flow import raft as torchvision_raft

from mmhkt.models import RAFT, Inheritance, build_network
from mmhkt.models.flow.torchvision_raft import _checked


@pytest.mark.parametrize(
    'method', [
        'mmhkt.Alone',
        'mmhkt.HKT',
        dict(type='mmhkt.GatedHKT', sites='3hkt'),
        dict(type='mmhkt.LePoKet', sites='2hkt'),
    ],
    ids=['Alone', 'HKT', '3HKT', 'LePoKet'])
def test_ours_and_the_checkpoint_law(tmp_path, method):
    """The untouched file fits torchvision's RAFT, with equal flow."""
    cfg = flow_config(tmp_path, method)
    runner = run(cfg)
    assert isinstance(runner.model, RAFT)
    assert isinstance(runner.inheritance, Inheritance)
    assert runner.inheritance.child is runner.model
    scalars = runner.message_hub.log_scalars
    term = 'hkt.inherited' if method == 'mmhkt.HKT' else 'native'
    assert {
        f'train/{term}.loss', f'train/{term}.epe', 'val/EPE', 'val/EPE-image',
        'val/Fl'
    } <= set(scalars)
    assert scalars['val/EPE'].data[0][-1] > 0

    weights = read(tmp_path / 'iter_2.pth')['state_dict']
    assert all(key.startswith('raft.') for key in weights)
    plain = torchvision_raft._raft(**_checked(cfg.model['size'])).eval()
    plain.load_state_dict(
        {
            key.removeprefix('raft.'): v
            for key, v in weights.items()
        },
        strict=True)
    network = build_network(cfg).eval()
    network.load_state_dict(weights, strict=True)
    batch = network.data_preprocessor(
        dict(inputs=torch.arange(6. * 37 * 45).view(1, 6, 37, 45) % 256))
    with torch.no_grad():
        wanted = plain(*batch['inputs'].chunk(2, 1), num_flow_updates=2)[-1]
        found, = network(**batch, mode='predict')
    assert torch.equal(found.pred_flow, wanted[0, :, 1:38, 1:46])

    child = read(tmp_path / 'child.pth')['state_dict']
    assert all(torch.equal(child[key], weights[key]) for key in weights)


def test_mmengines_runner(tmp_path):
    cfg = flow_config(tmp_path)
    cfg.pop('runner_type')
    cfg.pop('method')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert isinstance(runner.model, RAFT)
    before = read(tmp_path / 'iter_2.pth')['state_dict']
    assert runner.message_hub.log_scalars['train/epe'].data[0].min() > 0

    # Tested by ours. It holds more than weights: the scheduler's function.
    cfg = flow_config(
        tmp_path, load_from=str(tmp_path / 'iter_2.pth'), trusted=True)
    runner = RUNNERS.build(cfg)
    metrics = runner.test()
    assert metrics['EPE'] > 0
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, before[key])


def test_same_start_and_same_batches(tmp_path):
    """What is drawn in between changes neither."""
    seen = []
    for number in (0, 1):
        runner = RUNNERS.build(flow_config(tmp_path / str(number)))
        start = {k: v.clone() for k, v in runner.model.state_dict().items()}
        torch.rand(1 + number)
        runner.train()
        seen.append((start, runner.model.state_dict()))
    for one, other in zip(*seen):
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_sizes_that_are_no_multiple_of_8(tmp_path):
    runner = run(flow_config(tmp_path, size=(37, 51)))
    assert runner.message_hub.log_scalars['val/EPE'].data[0][-1] > 0


def test_too_small_is_known_before_training(tmp_path):
    with pytest.raises(
            ValueError,
            match='child .RAFT. cannot take images of 24x32 .*too small for '
            '2 correlation levels'):
        run(flow_config(tmp_path, size=(24, 32)))
