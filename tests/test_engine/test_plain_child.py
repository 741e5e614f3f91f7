# Copyright (c) mmhkt authors. All rights reserved.
"""What is done to a plain child by mmengine is done to ours."""
import copy
import uuid

import pytest
import torch
from helpers import digits_config, run
from mmengine.hooks import Hook
from mmengine.runner import Runner
from seg_helpers import tiny_config, tiny_model
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhkt.registry import RUNNERS


def groups_of(runner):
    """Parameter -> what the optimiser does to it."""
    optimizer = runner.build_optim_wrapper(runner.optim_wrapper).optimizer
    names = {id(p): n for n, p in runner.model.named_parameters()}
    settings = ('lr', 'weight_decay')
    return {
        names.get(id(p), 'learned in training only'):
        [group[name] for name in settings]
        for group in optimizer.param_groups
        for p in group['params']
    }


def both(cfg):
    """The same config for mmengine's runner and for ours, not trained."""
    plain = copy.deepcopy(cfg)
    for name in ('runner_type', 'parent', 'method'):
        plain.pop(name)
    plain.experiment_name = uuid.uuid4().hex
    ours = RUNNERS.build(cfg)
    ours.connect()
    return Runner.from_cfg(plain), ours


# `mmseg.ConvNeXt` is mmpretrain's.
CONVNEXT = dict(
    type='mmpretrain.ConvNeXt',
    arch=dict(depths=[1, 1, 3, 1], channels=[8, 16, 32, 64]),
    out_indices=[0, 1, 2, 3],
    gap_before_final_norm=False)


@pytest.mark.parametrize('method', ['mmhkt.Alone', 'mmhkt.GatedHKT'])
def test_layer_wise_decay_of_mmseg(tmp_path, method):
    child = tiny_model()
    child.backbone = CONVNEXT
    child.decode_head.update(in_channels=64, in_index=3)
    child.auxiliary_head.update(in_channels=32, in_index=2)
    cfg = tiny_config(tmp_path, method, child=child)
    cfg.optim_wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
        paramwise_cfg=dict(
            decay_rate=0.9, decay_type='stage_wise', num_layers=6),
        constructor='mmseg.LearningRateDecayOptimizerConstructor')
    plain, ours = both(cfg)
    expected, found = groups_of(plain), groups_of(ours)
    assert len({lr for lr, _ in expected.values()}) >= 6
    learned = found.pop('learned in training only', None)
    assert found == expected
    # What is learned beside the child has the rate of the config.
    assert (learned == [1e-4, 0.05]) if method != 'mmhkt.Alone' else (learned
                                                                      is None)


def test_layer_wise_decay_of_mmpretrain(tmp_path):
    cfg = digits_config(tmp_path, 'mmhkt.GatedHKT')
    cfg.model = dict(
        type='ImageClassifier',
        backbone=dict(type='VisionTransformer', img_size=32, patch_size=8,
                      arch=dict(embed_dims=16, num_layers=3, num_heads=2,
                                feedforward_channels=32)),
        head=dict(type='VisionTransformerClsHead', num_classes=10,
                  in_channels=16))  # yapf: disable
    cfg.optim_wrapper = dict(
        optimizer=dict(
            type='AdamW', lr=1e-3, weight_decay=0.05,
            _scope_='mmpretrain'),
        constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.65, norm_decay_mult=0.,
                           bias_decay_mult=0.))  # yapf: disable
    plain, ours = both(cfg)
    expected, found = groups_of(plain), groups_of(ours)
    assert len({lr for lr, _ in expected.values()}) >= 4
    found.pop('learned in training only')
    assert found == expected


def test_paramwise_cfg(tmp_path):
    cfg = digits_config(tmp_path, 'mmhkt.GatedHKT')
    cfg.optim_wrapper.paramwise_cfg = dict(
        norm_decay_mult=0.,
        custom_keys={
            'backbone.layer1': dict(lr_mult=0.1),
            'head': dict(lr_mult=10.)
        })
    plain, ours = both(cfg)
    expected, found = groups_of(plain), groups_of(ours)
    assert len({lr for lr, _ in expected.values()}) == 3
    found.pop('learned in training only')
    assert found == expected


class Watch(Hook):
    """What the batches are, and what the child is trained by."""
    priority = 'VERY_LOW'

    def __init__(self):
        self.sizes, self.losses, self.augments = [], [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 0:
            self.sizes.append(tuple(data_batch['inputs'][0].shape[-2:]))
            head = runner.model.head
            self.losses.append(type(head.loss_module).__name__)
            self.augments.append(
                runner.model.data_preprocessor.batch_augments is not None)


@pytest.mark.parametrize('workers', [0, 2])
def test_switch_recipe_hook(tmp_path, workers):
    """What a hook writes to data set, preprocessor and head takes effect."""
    found = []
    for kind in ('plain', 'ours'):
        cfg = digits_config(tmp_path / kind, 'mmhkt.Alone')
        pipeline = [
            dict(type='mmpretrain.Resize', scale=16),
            dict(type='mmpretrain.PackInputs')
        ]
        cfg.custom_hooks = [
            dict(
                type='mmpretrain.SwitchRecipeHook',
                schedule=[
                    dict(
                        action_epoch=2,
                        train_pipeline=pipeline,
                        loss=dict(
                            type='mmpretrain.LabelSmoothLoss',
                            label_smooth_val=0.1),
                        batch_augments=dict(augments=[
                            dict(type='mmpretrain.Mixup', alpha=0.2)
                        ]))
                ]),
            dict(type=Watch)
        ]
        cfg.merge_from_dict({
            'train_dataloader.num_workers': workers,
            'train_dataloader.persistent_workers': workers > 0,
            'train_cfg.max_epochs': 3
        })
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        if kind == 'plain':
            for name in ('runner_type', 'parent', 'method'):
                cfg.pop(name)
            runner = Runner.from_cfg(cfg)
            runner.train()
        else:
            runner = run(cfg)
        watch, = [hook for hook in runner.hooks if isinstance(hook, Watch)]
        found.append((watch.sizes, watch.losses, watch.augments))
    assert found[0] == found[1]
    assert found[1][0][1:] == [(16, 16)] * 2 != found[1][0][:1] * 2
    assert found[1][1][1:] == ['LabelSmoothLoss'] * 2


class EvalNorms(Hook):
    """Notes how often a batch norm has learned."""

    def after_train(self, runner):
        self.counts = {
            int(m.num_batches_tracked)
            for m in runner.model.modules() if isinstance(m, _BatchNorm)
        }


NORM = 'backbone.layer2.0.downsample.1'


@pytest.mark.parametrize('sites', [
    'stages', 'head',
    [dict(child=NORM, parent=NORM)]
])  # yapf: disable
def test_sync_bn_of_a_zoo_config(tmp_path, sites):
    """Norms are converted before anything is noted of them; they learn once
    a step, native and mixture passes or not; a site may be a norm."""
    child = tiny_model(stride=8)
    norm = dict(type='SyncBN', requires_grad=True)
    child.backbone.norm_cfg = child.decode_head.norm_cfg = norm
    child.auxiliary_head.norm_cfg = norm
    cfg = tiny_config(
        tmp_path, dict(type='mmhkt.GatedHKT', sites=sites), child=child)
    cfg.custom_hooks = [dict(type=EvalNorms)]
    runner = run(cfg)
    assert not any(
        isinstance(m, nn.SyncBatchNorm) for m in runner.model.modules())
    living = set(runner.model.modules())
    extraction = runner.inheritance._extraction
    assert set(extraction.statistics._norms) <= living
    assert runner.inheritance.child is runner.model
    hook, = [h for h in runner.hooks if isinstance(h, EvalNorms)]
    assert hook.counts == {2}


def test_fsdp_is_refused_by_name(tmp_path):
    cfg = digits_config(tmp_path)
    cfg.model_wrapper_cfg = dict(type='MMFullyShardedDataParallel')
    runner = RUNNERS.build(cfg)
    with pytest.raises(ValueError, match='MMFullyShardedDataParallel.*cannot'):
        runner.train()
    assert runner.iter == 0


def test_a_loop_of_ones_own_is_refused_by_name(tmp_path):
    cfg = digits_config(tmp_path)
    cfg.train_cfg.type = 'mmpretrain.RetrieverLoop'
    runner = RUNNERS.build(cfg)
    with pytest.raises(ValueError, match='RetrieverLoop.*EpochBasedTrainLoop'):
        runner.train()
    cfg.train_cfg.type = 'mmengine.EpochBasedTrainLoop'
    cfg.experiment_name = uuid.uuid4().hex
    RUNNERS.build(cfg).connect()


def test_ema_copies_a_child_without_taps(tmp_path):
    cfg = digits_config(tmp_path)
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.5)]
    runner = run(cfg)
    ema, = [h for h in runner.hooks if type(h).__name__ == 'EMAHook']
    average = ema.ema_model.module
    assert not any('forward' in m.__dict__ for m in average.modules())
    own = runner.model.state_dict()
    assert any(not torch.equal(v, own[k])
               for k, v in average.state_dict().items())
