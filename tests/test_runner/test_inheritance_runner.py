# Copyright (c) mmhkt authors. All rights reserved.
import json
import os
import subprocess
import sys

import pytest
import torch
from helpers import REPO, digits_config, dump, read, run, same, tool
from mmengine.registry import MODELS, init_default_scope

from mmhkt.registry import RUNNERS
from mmhkt.utils.config import ConfigError


def test_testing_builds_the_plain_child_alone(tmp_path):
    run(digits_config(tmp_path, 'mmhkt.Alone'))
    cfg = digits_config(tmp_path, load_from=str(tmp_path / 'epoch_2.pth'))
    cfg.parent = dict(config='gone.py', checkpoint='gone.pth')
    runner = RUNNERS.build(cfg)
    metrics = runner.test()
    assert type(runner.model).__name__ == cfg.model.type
    assert runner.inheritance is None and runner.trained is None
    assert set(metrics) == {'accuracy/top1'}


def test_validation_alone(tmp_path):
    cfg = digits_config(tmp_path)
    # The hook of mmengine itself wants a training run to save the best.
    cfg.default_hooks.checkpoint.pop('save_best')
    assert 'accuracy/top1' in RUNNERS.build(cfg).val()


@pytest.mark.parametrize(
    'options', [
        {
            'custom_hooks': [dict(type='EMAHook', momentum=0.1)]
        },
        {
            'optim_wrapper.type': 'mmhkt.AutocastOptimWrapper'
        },
        {
            'optim_wrapper.accumulative_counts': 2
        },
        {
            'optim_wrapper.clip_grad': dict(max_norm=0.1)
        },
        {
            'optim_wrapper.paramwise_cfg': dict(norm_decay_mult=0.0)
        },
        {
            'auto_scale_lr': dict(base_batch_size=128, enable=True)
        },
        {
            'default_hooks': dict(
                extraction=None, transfer=None, mixture=None)
        },
        {
            'train_cfg':
            dict(type='IterBasedTrainLoop', max_iters=6, val_interval=3),
            'default_hooks.checkpoint':
            dict(type='CheckpointHook', by_epoch=False, interval=6),
            'param_scheduler':
            None,
        },
    ],
    ids=lambda options: '-'.join(options))
def test_standard_features(tmp_path, options):
    method = [dict(type='mmhkt.HKT'), dict(type='mmhkt.LePoKet')]
    options = dict(options)
    train_cfg = options.pop('train_cfg', None)
    cfg = digits_config(tmp_path, method, **options)
    if train_cfg is not None:
        cfg.train_cfg = train_cfg  # in place of the epochs', not merged
    runner = run(cfg)
    file = read(next(tmp_path.glob('*_[26].pth')))
    plain = MODELS.build(cfg.model)
    plain.load_state_dict(file['state_dict'], strict=True)
    if 'custom_hooks' in options:
        # What is deployed are the averaged weights; the others lie beside.
        averaged = file['state_dict']['backbone.conv1.weight']
        trained = runner.model.state_dict()['backbone.conv1.weight']
        assert not torch.equal(averaged, trained)
        assert torch.equal(
            file['ema_state_dict']['module.backbone.conv1.weight'], trained)
        assert 'module.head.fc.weight' in file['ema_state_dict']
        assert not any('methods' in key for key in file['ema_state_dict'])
        again = digits_config(
            tmp_path,
            method,
            resume=True,
            **{
                'train_cfg.max_epochs': 3,
                **options
            })
        assert run(again).epoch == 3


def test_data_without_a_batch_are_refused_by_name(tmp_path):
    few = {
        'train_dataloader.batch_size': 2000,
        'train_dataloader.drop_last': True
    }
    text = 'train_dataloader gives no batch: .* batch_size 2000, drop_last T'
    with pytest.raises(ConfigError, match=text):
        run(digits_config(tmp_path, 'mmhkt.Alone', **few))
    # Of an endless sampler there is always one more.
    cfg = digits_config(tmp_path, 'mmhkt.Alone', **few)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    cfg.train_cfg = dict(by_epoch=False, max_iters=1, val_interval=10)
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=1)
    cfg.param_scheduler = None
    assert run(cfg).iter == 1


def test_paramwise_groups_are_divided_and_resumed(tmp_path):
    options = {
        'optim_wrapper.paramwise_cfg':
        dict(custom_keys={'backbone': dict(lr_mult=0.1)})
    }
    method = 'mmhkt.GatedHKT'
    runner = run(digits_config(tmp_path, method, **options))
    file = read(tmp_path / 'epoch_2.pth')
    named = dict(runner.model.named_parameters())
    groups = file['optimizer']['param_groups']
    assert len(groups) == len(named)
    for name, group in zip(named, groups):
        factor = 0.1 if name.startswith('backbone') else 1
        assert group['lr'] == pytest.approx(factor * groups[-1]['lr'])
    # What the methods learn is one more group, at the rate of the config.
    extra, = file['transfer']['optimizer']['param_groups']
    assert extra['lr'] == pytest.approx(groups[-1]['lr'])
    assert len(extra['params']) == len(
        runner.inheritance.transfer_parameters())
    resumed = run(
        digits_config(
            tmp_path,
            method,
            resume=True,
            **{
                'train_cfg.max_epochs': 3,
                **options
            }))
    assert resumed.epoch == 3


def test_learned_parts_are_clipped_and_trained(tmp_path):
    cfg = digits_config(tmp_path, 'mmhkt.LePoKet')
    runner = RUNNERS.build(cfg)
    runner.connect()
    before = [p.clone() for p in runner.inheritance.transfer_parameters()]
    runner.train()
    after = runner.inheritance.transfer_parameters()
    assert len(after) > 4
    assert all(not torch.equal(a, b) for a, b in zip(before, after))
    optimised = {
        id(p)
        for group in runner.optim_wrapper.optimizer.param_groups
        for p in group['params']
    }
    assert {id(p) for p in after} <= optimised


def test_every_backend_gets_losses_and_gates(tmp_path):
    cfg = digits_config(tmp_path, 'mmhkt.GatedHKT')
    cfg.visualizer.vis_backends = [
        dict(type='LocalVisBackend'),
        dict(type='TensorboardVisBackend')
    ]
    cfg.default_hooks.logger.interval = 2
    cfg.default_hooks.mixture = dict(type='mmhkt.MixtureHook', interval=2)
    run(cfg)
    wanted = {
        'native.loss', 'gatedhkt.inherited.loss', 'gatedhkt.parent_head.loss',
        'gatedhkt.gate.neck', 'gatedhkt.intensity.neck', 'native.accuracy',
        'gatedhkt.inherited.accuracy', 'gatedhkt.parent_head.accuracy'
    }
    lines = next(tmp_path.glob('*/vis_data/scalars.json')).read_text()
    names = set().union(*(json.loads(line) for line in lines.splitlines()))
    assert wanted <= names

    from tensorboard.backend.event_processing.event_accumulator import \
        EventAccumulator
    events = EventAccumulator(str(next(tmp_path.glob('*/vis_data/events*'))))
    events.Reload()
    assert wanted <= set(events.Tags()['scalars'])


def test_the_runners_model_is_the_plain_child(tmp_path):
    """From before training to its end, one and the same."""
    cfg = digits_config(tmp_path)
    runner = RUNNERS.build(cfg)
    child, seen = runner.model, []
    call_hook = runner.call_hook

    def spy(name, **kwargs):
        seen.append(runner.model)
        if name == 'before_train_iter':
            assert runner.trained is runner.inheritance
        call_hook(name, **kwargs)

    runner.call_hook = spy
    assert runner.inheritance is None
    assert runner.train() is child
    assert all(model is child for model in seen)
    assert runner.inheritance.child is child
    assert type(child).__name__ == cfg.model.type
    assert child.head.num_classes == 10
    assert not any('forward' in vars(m) for m in child.modules())


@pytest.mark.slow
def test_two_processes_on_cpu(tmp_path):
    """torchrun with gloo, from the command line, without any setting."""
    cfg = digits_config(tmp_path / 'run',
                        [dict(type='mmhkt.LePoKet'),
                         dict(type='mmhkt.CRD')])
    config = dump(cfg, tmp_path / 'config.py')
    done = subprocess.run([
        sys.executable, '-m', 'torch.distributed.run', '--standalone',
        '--nproc_per_node=2',
        str(REPO / 'tools/train.py'),
        str(config), '--launcher', 'pytorch'
    ],
                          capture_output=True,
                          text=True,
                          env={
                              **os.environ, 'OMP_NUM_THREADS': '1'
                          })
    assert done.returncode == 0, done.stderr[-3000:]
    file = read(tmp_path / 'run/epoch_2.pth')
    assert file['meta']['iter'] == 4  # 256 images, 2 processes of 64
    init_default_scope('mmpretrain')
    plain = MODELS.build(cfg.model)
    plain.load_state_dict(file['state_dict'], strict=True)
    learned = file['transfer']['state_dict']
    assert {name[0] for name in learned} == {'0', '1'}


@pytest.mark.slow
def test_command_line(tmp_path):
    cfg = digits_config(tmp_path / 'unused')
    del cfg._cfg_dict['work_dir']
    config = dump(cfg, tmp_path / 'my_child.py')
    done = tool(
        'train.py',
        config,
        '--cfg-options',
        'log_level=INFO',
        'method.type=mmhkt.GatedHKT',
        'method.weights.parent_head=0',
        cwd=tmp_path,
        fork=False)
    assert 'Pairing' in done.stdout
    assert 'learned in training only: 1,024 parameters' in done.stdout
    assert 'eta:' in done.stdout
    folder = tmp_path / 'work_dirs/my_child'
    done = tool('test.py', config, folder / 'epoch_2.pth', cwd=tmp_path)
    child = read(folder / 'child.pth')
    assert set(child) == {'meta', 'state_dict'}
    assert same(child['state_dict'],
                read(folder / 'epoch_2.pth')['state_dict'])
    # The exported config is the plain child's and tests to the same figure.
    tool('test.py', folder / 'child.py', folder / 'child.pth', cwd=tmp_path)
