# Copyright (c) mmhkt authors. All rights reserved.
import json
import logging

import pytest
import torch
from helpers import CONFIGS, digits_config, read, run, same
from mmengine.logging import MMLogger

from mmhkt.registry import RUNNERS


@pytest.fixture
def log(monkeypatch):
    """What is logged, as (level, text)."""
    lines = []
    handle = MMLogger.callHandlers

    def keep(self, record):
        lines.append((record.levelno, record.getMessage()))
        return handle(self, record)

    monkeypatch.setattr(MMLogger, 'callHandlers', keep)
    return lines


def texts(log, level=logging.INFO):
    return '\n'.join(text for lvl, text in log if lvl == level)


def test_parent_is_scored_as_it_scored_alone(tmp_path, log):
    """The figure equals the parent's own test, with its own preprocessor."""
    parent = tmp_path / 'parent'
    cfg = digits_config(parent, 'mmhkt.Alone')
    run(cfg)
    own = digits_config(
        parent, 'mmhkt.Alone', load_from=str(parent / 'child.pth'))
    expected = RUNNERS.build(own).test()['accuracy/top1']

    log.clear()
    cfg = digits_config(
        tmp_path / 'run',
        parent=dict(
            config=str(CONFIGS / 'alone/resnet8-narrow_digits.py'),
            checkpoint=str(parent / 'child.pth')),
        log_level='INFO')
    cfg.data_preprocessor.update(mean=[0.0] * 3, std=[255.0] * 3)
    cfg.default_hooks.extraction = dict(
        type='mmhkt.ExtractionHook', score_parent=True)
    cfg.custom_hooks = [dict(type='mmhkt.RecordHook')]
    run(cfg)
    noted = json.loads((tmp_path / 'run' / 'record.json').read_text())
    assert noted['parent_scores']['accuracy/top1'] == expected
    assert (f'The parent on the validation set: accuracy/top1 {expected:.4f}'
            in texts(log))
    assert texts(log).count('Pairing') == 1
    assert 're-normalised: x [' in texts(log)


def test_a_parent_that_brings_its_weights_is_scored(tmp_path, log,
                                                    monkeypatch):
    """A module of another house has no checkpoint, but is what it is."""
    (tmp_path / 'another_house.py').write_text(
        'from torch import nn\n'
        'def make(pretrained):\n'
        '    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(),\n'
        '                         nn.AdaptiveAvgPool2d(1), nn.Flatten(),\n'
        '                         nn.Linear(8, 10))\n')
    monkeypatch.syspath_prepend(tmp_path)
    module = dict(type='another_house.make', pretrained=True)
    cfg = digits_config(tmp_path, 'mmhkt.KD', parent=dict(module=module))
    cfg.default_hooks.extraction = dict(
        type='mmhkt.ExtractionHook', score_parent=True)
    cfg.custom_hooks = [dict(type='mmhkt.RecordHook')]
    cfg.train_cfg.max_epochs = 1
    # A table among the scores, which is none.
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='ConfusionMatrix')]
    run(cfg)
    noted = json.loads((tmp_path / 'record.json').read_text())
    assert list(noted['parent_scores']) == ['accuracy/top1']
    assert noted['parent_weights']


def test_a_parent_that_cannot_be_scored_leaves_nothing_behind(tmp_path, log):
    """Its half of a validation counted as the child's first."""
    cfg = digits_config(
        tmp_path, log_level='INFO', **{'val_dataloader.batch_size': 32})
    cfg.default_hooks.extraction = dict(
        type='mmhkt.ExtractionHook', score_parent=True)
    runner = RUNNERS.build(cfg)
    runner.connect()
    predict, seen = runner.inheritance.parent.network.forward, []

    def fails(*args, mode='tensor', **kwargs):
        seen.append(mode)
        if mode == 'predict' and seen.count(mode) == 2:
            raise AssertionError('of another task')
        return predict(*args, mode=mode, **kwargs)

    runner.inheritance.parent.network.forward = fails
    runner.inheritance.parent.random_weights = False
    runner.train()
    assert seen.count('predict') == 2
    assert 'COULD NOT BE SCORED' in texts(log, logging.WARNING)
    found = runner.message_hub.get_scalar('val/accuracy/top1').current()
    cfg = digits_config(tmp_path, load_from=str(tmp_path / 'child.pth'))
    assert found == RUNNERS.build(cfg).test()['accuracy/top1']


def test_warns_of_a_child_that_leans_on_its_parent(tmp_path, log):
    parent = tmp_path / 'parent'
    run(
        digits_config(
            parent, 'mmhkt.Alone', **{
                'train_cfg.max_epochs': 10,
                'train_dataloader.dataset.indices': 1000
            }))
    log.clear()
    cfg = digits_config(
        tmp_path / 'run',
        dict(
            type='mmhkt.GatedHKT',
            attention=dict(mode='static', intensity=1.0),
            weights=dict(native=0, parent_head=0)),
        parent=dict(
            config=str(CONFIGS / 'alone/resnet8-narrow_digits.py'),
            checkpoint=str(parent / 'child.pth')),
        **{'optim_wrapper.optimizer.lr': 0.02})
    run(cfg)
    warnings = texts(log, logging.WARNING)
    assert "with the parent's feature mixed in" in warnings
    assert 'in validation for the child alone' in warnings


def test_no_warning_for_a_child_that_stands_alone(tmp_path, log):
    run(digits_config(tmp_path, 'mmhkt.Alone'))
    assert 'mixed in' not in texts(log, logging.WARNING)


def test_last_and_best_are_logged_and_the_child_exported(tmp_path, log):
    runner = run(digits_config(tmp_path, log_level='INFO'))
    values = runner.message_hub.log_scalars['val/accuracy/top1'].data[0]
    assert (f'Child alone, accuracy/top1: last {values[-1]:.4f}, '
            f'highest {values.max():.4f}') in texts(log)
    exported = read(tmp_path / 'child.pth')
    assert set(exported) == {'state_dict', 'meta'}
    assert exported['meta']['epoch'] == 2
    assert len(exported['meta']['dataset_meta']['classes']) == 10


def test_schedule_turns_weights_and_intensity(tmp_path):
    cfg = digits_config(
        tmp_path,
        dict(
            type='mmhkt.HKT',
            sites='stages',
            weights=dict(inherited=1, parent_head=0),
            schedule=[
                dict(knob='weights.inherited', start=0, stop=1, end=0.5),
                dict(knob='intensity', rule='constant', start=0.0, sites=[0]),
            ]))
    seen = []

    class Spy:

        def __init__(self, runner):
            self.call_hook = runner.call_hook
            self.runner = runner

        def __call__(self, name, **kwargs):
            self.call_hook(name, **kwargs)
            if name == 'before_train_iter':
                method = self.runner.inheritance.methods[0]
                seen.append((method.weight('inherited'),
                             [m.attention.factor for m in method.mixtures]))

    runner = RUNNERS.build(cfg)
    runner.call_hook = Spy(runner)
    runner.train()
    assert [weight for weight, _ in seen
            ] == pytest.approx([0, .25, .5, .75, 1, 1, 1, 1])
    assert all(factors == [0.0, 1.0, 1.0] for _, factors in seen)
    scalars = runner.message_hub.log_scalars
    # In the first iteration the term has weight 0 and is not computed.
    assert len(scalars['train/hkt.inherited.loss'].data[0]) == 7
    assert torch.isfinite(torch.tensor(scalars['train/loss'].data[0])).all()


def test_what_is_weaned_is_no_longer_logged(tmp_path):
    """Its last value again and again would look as if it were there."""
    half = [
        dict(knob=knob, stop=0.0, end=0.5)
        for knob in ('intensity', 'weights.hint')
    ]
    cfg = digits_config(
        tmp_path,
        dict(type='mmhkt.HKT', schedule=half),
        custom_hooks=[dict(type='mmhkt.RecordHook')])
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
    cfg.default_hooks.mixture = dict(type='mmhkt.MixtureHook', interval=1)
    runner = run(cfg)
    path = next(tmp_path.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [line for line in lines if 'loss' in line]
    assert len(lines) == 8
    site = 'backbone.layer1'
    for name in ('hkt.hint.loss', f'hkt.error.{site}'):
        assert [name in line for line in lines] == [True] * 4 + [False] * 4
        assert f'train/{name}' not in runner.message_hub.log_scalars
    for name in ('hkt.inherited.loss', 'hkt.logits.loss',
                 f'hkt.intensity.{site}'):
        assert all(name in line for line in lines)
    curves = runner.message_hub.runtime_info['training']
    assert [
        len(curves[f'hkt.{name}.{site}']) for name in ('error', 'intensity')
    ] == [4, 8]


def test_what_is_exported_are_the_averaged_weights(tmp_path):
    run(
        digits_config(
            tmp_path, custom_hooks=[dict(type='EMAHook', momentum=0.5)]))
    exported, last = (
        read(tmp_path / name)['state_dict']
        for name in ('child.pth', 'epoch_2.pth'))
    assert same(exported, last)


def test_shares_of_the_gradient(tmp_path):
    """They are logged and kept as curves, and change nothing."""
    weights = []
    for shares in (False, True):
        cfg = digits_config(tmp_path / str(shares), 'mmhkt.GatedHKT')
        cfg.default_hooks.mixture = dict(
            type='mmhkt.MixtureHook', interval=2, shares=shares)
        runner = run(cfg)
        weights.append(runner.model.state_dict())
        curves = {
            name: curve
            for name, curve in
            runner.message_hub.runtime_info['training'].items()
            if '.share.' in name
        }
        assert bool(curves) == shares
    assert same(*weights)
    assert {name.split('.')[2]
            for name in curves} == {'native', 'inherited', 'parent_head'}
    sites = {name.split('.', 3)[3] for name in curves}
    for site in sites:
        of_site = [c for n, c in curves.items() if n.endswith(f'.{site}')]
        for points in zip(*of_site):
            assert sum(value for _, value in points) == pytest.approx(1)
    logged = next((tmp_path / 'True').glob('*/vis_data/scalars.json'))
    assert f'gatedhkt.share.native.{site}' in logged.read_text()
