# Copyright (c) mmhkt authors. All rights reserved.
"""Activation checkpointing changes neither gradients nor statistics."""
import copy
import sys

import pytest
import torch
import torch.utils.checkpoint
from helpers import digits_config, run
from method_helpers import classifier, inherit, samples
from mmengine.runner.activation_checkpointing import \
    turn_on_activation_checkpointing
from seg_helpers import tiny_config, tiny_model

from mmhkt.inheritance.checkpointing import watched_checkpoints
from mmhkt.registry import METHODS

STAGES = [f'backbone.layer{i}' for i in (1, 2, 3, 4)]
# Inside the region that `with_cp` of a block recomputes.
INSIDE = [
    dict(
        child=f'backbone.layer{i}.0.conv2',
        parent=f'backbone.layer{i}.0.conv2') for i in (2, 4)
]
CASES = dict(
    hkt=dict(type='mmhkt.HKT'),
    hkt_inside=dict(type='mmhkt.HKT', sites=INSIDE),
    gated=dict(type='mmhkt.GatedHKT', sites='stages'),
    gated_inside=dict(type='mmhkt.GatedHKT', sites=INSIDE),
    fitnet=dict(type='mmhkt.FitNet'),
    fitnet_inside=dict(type='mmhkt.FitNet', sites=INSIDE[:1]),
    ofd=dict(type='mmhkt.OFD'),
    both=[dict(type='mmhkt.GatedHKT', sites='stages'),
          dict(type='mmhkt.KD')])


def resnet(width, with_cp=False):
    backbone = dict(
        type='mmpretrain.ResNet',
        depth=18,
        stem_channels=width,
        base_channels=width,
        with_cp=with_cp)
    return classifier(
        backbone, 8 * width, neck=dict(type='mmpretrain.GlobalAveragePooling'))


def gradients(case, how, child_width=4):
    """Of two steps, and all that they leave in the child's buffers."""
    torch.manual_seed(0)
    cfgs = case if isinstance(case, list) else [case]
    model = inherit(
        resnet(child_width, with_cp=how == 'with_cp'), resnet(8),
        [METHODS.build(copy.deepcopy(cfg)) for cfg in cfgs],
        torch.rand(1, 3, 32, 32))
    if how in ('stages', 'backbone'):
        turn_on_activation_checkpointing(
            model.child, STAGES if how == 'stages' else 'backbone')
    images = torch.rand(4, 3, 32, 32)
    found = {}
    model.train()
    with model.tapped():
        for step in range(2):
            losses = model(images, samples([0, 4, 2, 7]), mode='loss')
            total, _ = model.parse_losses(losses)
            model.zero_grad()
            total.backward()
            found.update({
                f'{step}.{name}': p.grad.clone()
                for name, p in model.named_parameters() if p.grad is not None
            })
    found.update({
        n: b.clone()
        for n, b in model.named_buffers() if b.is_floating_point()
    })
    assert all('forward' not in m.__dict__ for m in model.child.modules()
               if how in ('plain', 'with_cp'))
    return found


@pytest.mark.parametrize('how', ['stages', 'backbone', 'with_cp'])
@pytest.mark.parametrize('case', CASES)
def test_gradients_and_statistics_are_those_of_the_plain_run(case, how):
    plain = gradients(CASES[case], 'plain')
    found = gradients(CASES[case], how)
    assert plain.keys() == found.keys() and len(plain) > 100
    for name, value in plain.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-4, atol=1e-6, msg=lambda m: name + m)


def test_torchs_function_is_as_it_was():
    before = torch.utils.checkpoint.checkpoint
    gradients(CASES['hkt'], 'with_cp')
    assert torch.utils.checkpoint.checkpoint is before


def test_a_whole_training_by_mmengines_key(tmp_path):
    """Equal in the end, the hints' regression included."""
    runs = []
    for key in (None, ['backbone.layer2', 'backbone.layer3']):
        cfg = digits_config(tmp_path / str(bool(key)),
                            **{'train_cfg.max_epochs': 1})
        cfg.activation_checkpointing = key
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        runs.append(run(cfg))
    one, other = (runner.model.state_dict() for runner in runs)
    for name, value in one.items():
        torch.testing.assert_close(
            other[name], value, rtol=1e-3, atol=1e-5, msg=lambda m: name + m)


def test_segmentation(tmp_path):
    runs = []
    for with_cp in (False, True):
        child = tiny_model(stride=8)
        child.backbone.with_cp = with_cp
        runs.append(
            run(
                tiny_config(tmp_path / str(with_cp), 'mmhkt.HKT',
                            child=child)))
    one, other = (runner.model.state_dict() for runner in runs)
    for name, value in one.items():
        torch.testing.assert_close(
            other[name], value, rtol=1e-3, atol=1e-5, msg=lambda m: name + m)


def test_whatever_name_it_was_imported_under(monkeypatch):
    before = torch.utils.checkpoint.checkpoint
    here = sys.modules[__name__]
    monkeypatch.setattr(here, 'another_name', before, raising=False)
    with watched_checkpoints([]):
        assert here.another_name is torch.utils.checkpoint.checkpoint
        assert here.another_name is not before
    assert here.another_name is before
