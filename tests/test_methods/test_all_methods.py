# Copyright (c) mmhkt authors. All rights reserved.
"""What holds for every registered method, and so for the next one too."""
import pytest
import torch
from flow_helpers import flow_config
from helpers import cut_off, digits_config, read, run, same
from mmengine.config import Config

import mmhkt.methods  # noqa: F401  fills the registry
from mmhkt.models import build_network
from mmhkt.registry import METHODS, RUNNERS
from mmhkt.runner.inheritance_runner import build_methods

ALL = [f'mmhkt.{name}' for name in METHODS.module_dict]
# Those that only networks of optical flow can have.
OF_FLOW = ['mmhkt.FlowImitation']


def config_of(folder, method, **options):
    """Two epochs of four iterations, of digits where they will do."""
    if method not in OF_FLOW:
        return digits_config(folder, method, **options)
    cfg = flow_config(
        folder, method, **{
            'train_dataloader.sampler.type': 'DefaultSampler',
            'param_scheduler.total_steps': 8,
            'default_hooks.checkpoint.by_epoch': True,
            'default_hooks.checkpoint.interval': 1,
            **options
        })
    cfg.train_cfg = dict(by_epoch=True, max_epochs=2)
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('method', ALL)
def test_trains_resumes_and_leaves_a_plain_child(tmp_path, method):
    whole = tmp_path / 'whole'
    runner = run(config_of(whole, method))
    logged = runner.message_hub.log_scalars
    mine = [
        name for name in logged
        if name.startswith('train/') and name.split('/')[1].startswith(
            method.split('.')[1].lower()) and 'loss' in name
    ]
    assert bool(mine) == (method != 'mmhkt.Alone')
    for name in mine:
        values = logged[name].data[0]
        # A warm-up may begin with nothing.
        assert len(values) >= 7 and torch.tensor(values).isfinite().all()

    cut = tmp_path / 'cut'
    cut_off(whole, cut, 'epoch_2.pth')
    run(config_of(cut, method, resume=True))
    one, other = (read(folder / 'epoch_2.pth') for folder in (whole, cut))
    assert same(one['state_dict'], other['state_dict'])
    assert same(one['transfer']['state_dict'], other['transfer']['state_dict'])
    assert one['message_hub']['log_scalars'].keys() == (
        other['message_hub']['log_scalars'].keys())

    exported = read(whole / 'child.pth')
    plain = build_network(Config.fromfile(whole / 'child.py'))
    plain.load_state_dict(exported['state_dict'], strict=True)
    assert same(exported['state_dict'], one['state_dict'])
    images = torch.randn(4, 6 if method in OF_FLOW else 3, 32, 32)
    runner.model.eval()
    plain.eval()
    with torch.no_grad():
        assert torch.equal(plain(images), runner.model(images))


@pytest.mark.parametrize('method', ALL)
def test_what_it_learns_moves_and_the_parent_does_not(tmp_path, method):
    runner = RUNNERS.build(config_of(tmp_path, method))
    runner.connect()
    model = runner.inheritance
    if model.parent is None:
        assert not model.transfer_parameters()
        return
    # A warm-up would begin with nothing.
    assert all(model.methods[0].factors[term] == 1
               for term in model.methods[0].weights)
    weights = {n: p.clone() for n, p in model.parent.named_parameters()}
    model.train()
    batch = next(iter(runner.train_dataloader))
    data = model.data_preprocessor(batch, True)
    with model.tapped():
        losses = model(**data, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not name.startswith('methods.'):
            continue
        assert parameter.grad.isfinite().all(), name
    for name, parameter in model.parent.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, weights[name])


@pytest.mark.parametrize('method', ALL)
def test_settings(method):
    """Those that all have are taken, and a misspelt one is not."""
    sites = dict(sites='all') if method not in OF_FLOW else {}
    built, = build_methods(
        dict(type=method, weights=dict(native=0.5), schedule=[], **sites))
    assert built.sites_wanted == sites.get('sites')
    assert built.weights['native'] == 0.5
    with pytest.raises(ValueError, match='no setting "weigths".*weights'):
        build_methods(dict(type=method, weigths=dict(native=0.5)))
