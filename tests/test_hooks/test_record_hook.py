# Copyright (c) mmhkt authors. All rights reserved.
import copy
import json
import math
import uuid

import pytest
import torch
from helpers import digits_config, read, run
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.models import SwinTransformer
from torch.utils.data import DataLoader

from mmhkt.comparison.records import state_of
from mmhkt.evaluation import ImageScores
from mmhkt.utils.checkpoint import not_finite


class Kill(Exception):
    """In the place of a signal."""


@HOOKS.register_module()
class KillHook(Hook):
    """Ends a run at a point in it."""
    priority = 'VERY_LOW'  # after the CheckpointHook, before the RecordHook

    def __init__(self, where, when):
        self.where, self.when = where, when

    def _call(self, where, now):
        if (where, now) == (self.where, self.when):
            raise Kill

    def after_train_iter(self, runner, *args, **kwargs):
        self._call('iter', runner.iter + 1)

    def before_val(self, runner):
        self._call('val', runner.iter)

    def after_train(self, runner):
        self._call('end', runner.iter)


def config(folder, method='mmhkt.GatedHKT', kill=None, **options):
    cfg = digits_config(folder, method, **options)
    cfg.custom_hooks = [dict(type='mmhkt.RecordHook')]
    if kill:
        cfg.custom_hooks.insert(
            0, dict(type='KillHook', where=kill[0], when=kill[1]))
    return cfg


def record(folder):
    return json.loads((folder / 'record.json').read_text())


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    runner = run(config(folder, **{'train_cfg.max_epochs': 3}))
    return folder, runner, record(folder)


def lasting(record):
    """What must not depend on interruptions."""
    return {
        key: value
        for key, value in record.items()
        if key not in ('step', 'mean_step', 'peak_memory')
    }


def test_what_is_recorded(whole):
    folder, runner, noted = whole
    assert noted['finished']
    assert (noted['iter'], noted['max_iters'], noted['unit']) == (12, 12,
                                                                  'epoch')
    assert list(noted['batches']) == ['4', '8', '12']
    assert len(set(noted['batches'].values())) == 3
    # As the logs have it.
    logged = [
        json.loads(line) for path in folder.glob('*/vis_data/scalars.json')
        for line in path.read_text().splitlines()
    ]
    assert {
        str(line['step']): line['accuracy/top1']
        for line in logged if 'accuracy/top1' in line
    } == {
        step: scores['accuracy/top1']
        for step, scores in noted['validations'].items()
    }
    assert noted['parameters'] == sum(p.numel()
                                      for p in runner.model.parameters())
    assert noted['extra_parameters'] == 2048
    assert noted['peak_memory'] > 2**20 and noted['step'] > 0
    assert noted['mean_step'] > 0
    setup = noted['setup']
    assert setup['precision'] == 'float32' and setup['batch'] == 64
    assert setup['test_data'] == dict(
        type='Digits', where=None, split='test', images=64, classes=10)
    assert setup['training_data']['images'] == 256
    assert setup['optimizer'].startswith('SGD, lr 0.1, momentum 0.9')
    assert setup['schedule'] == 'CosineAnnealingLR'
    assert setup['packages']['torch'] == torch.__version__.split('+')[0]
    assert setup['processor'] and setup['device'] == 'CPU'


def test_masks_of_attention_are_no_divergence(tmp_path):
    """A Swin child, whose masks are buffers with infinities."""
    cfg = config(tmp_path, 'mmhkt.Alone', **{'train_cfg.max_epochs': 1})
    cfg.model.backbone = dict(
        type=MaskedSwin,
        arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]),
        img_size=32,
        patch_size=2,
        window_size=4,
        pad_small_map=True)
    cfg.model.head.in_channels = 64
    runner = run(cfg)
    mask = read(tmp_path / 'child.pth')['state_dict']['backbone.mask']
    assert mask[0, 1] == -math.inf
    noted = record(tmp_path)
    assert noted['finite'] and state_of(tmp_path, noted) == 'finished'
    # But a NaN is one, and an infinity in what is learned.
    for name, value in (('mask', math.nan), ('norm3.bias', math.inf)):
        child = copy.deepcopy(runner.model)
        child.backbone.state_dict()[name].view(-1)[0] = value
        assert not_finite(child, child.state_dict()) == [f'backbone.{name}']


class MaskedSwin(SwinTransformer):

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        mask = torch.full((4, 4), -math.inf).triu(1)
        self.register_buffer('mask', mask)


def test_what_each_image_contributed(whole):
    folder, _, noted = whole
    kept = ImageScores.load(folder / 'images.npz')
    sums = kept.sums['accuracy/top1']
    assert kept.step == 3 and sums.above.shape == (64, 1)
    assert sums.score() == pytest.approx(
        noted['validations']['3']['accuracy/top1'])


def test_depends_on_the_seed_and_not_on_the_method(tmp_path, whole):
    noted = whole[2]
    run(config(tmp_path / 'alone', 'mmhkt.Alone'))
    alone = record(tmp_path / 'alone')
    assert alone['extra_parameters'] == 0
    assert alone['initial_weights'] == noted['initial_weights']
    assert alone['batches'] == {i: noted['batches'][i] for i in ('4', '8')}

    run(config(tmp_path / 'other', 'mmhkt.Alone', **{'randomness.seed': 1}))
    other = record(tmp_path / 'other')
    assert other['initial_weights'] != noted['initial_weights']
    assert not set(other['batches'].values()) & set(noted['batches'].values())


@pytest.mark.parametrize(
    'kill',
    [
        ('iter', 2),  # before the first checkpoint
        ('iter', 7),
        ('val',
         8),  # between a checkpoint and the validation that belongs to it
        ('val', 12),  # the same, in the last epoch
        ('end', 12),
    ])
def test_cut_off_and_resumed_records_the_same(tmp_path, whole, kill):
    options = {'train_cfg.max_epochs': 3}
    with pytest.raises(Kill):
        run(config(tmp_path, kill=kill, **options))
    assert not record(tmp_path)['finished']
    run(config(tmp_path, resume=True, **options))
    assert lasting(record(tmp_path)) == lasting(whole[2])


def test_what_lies_after_the_checkpoint_is_recorded_anew(
        tmp_path, whole, monkeypatch):
    monkeypatch.setattr('mmhkt.hooks.record_hook.INTERVAL', 0)  # written often
    options = {'train_cfg.max_epochs': 3}
    cfg = config(tmp_path, kill=('iter', 10), **options)
    cfg.default_hooks.checkpoint.update(save_best=None, interval=10)
    with pytest.raises(Kill):
        run(cfg)
    assert list(record(tmp_path)['validations']) == ['1', '2']
    (tmp_path / 'record.json').write_text(
        json.dumps(
            dict(record(tmp_path), validations={'2': {
                'accuracy/top1': -1
            }})))
    run(config(tmp_path, resume=True, **options))
    assert lasting(record(tmp_path)) == lasting(whole[2])


def test_a_record_is_not_written_at_each_epoch(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr('mmhkt.hooks.record_hook.write_text',
                        lambda path, text: written.append(text))
    run(config(tmp_path, **{'train_cfg.max_epochs': 9}))
    assert len(written) <= 4  # at the beginning, at the end, and after 5 s
    assert len(json.loads(written[-1])['validations']) == 9


def test_curves_of_training(whole):
    """Of the accuracies and of the method's statistics, and no others."""
    folder, runner, noted = whole
    curves = noted['training']
    assert set(curves) == {
        'native.accuracy', 'gatedhkt.inherited.accuracy',
        'gatedhkt.parent_head.accuracy', 'gatedhkt.gate.neck',
        'gatedhkt.similarity.neck', 'gatedhkt.intensity.neck'
    }
    # Fewer iterations than points: each one.
    steps = list(range(1, runner.max_iters + 1))
    assert all([step for step, _ in curve] == steps
               for curve in curves.values())
    logged = runner.message_hub.log_scalars['train/native.accuracy'].data[0]
    assert [v for _, v in curves['native.accuracy']
            ] == pytest.approx(list(logged))
    assert all(v == pytest.approx(0.6)
               for _, v in curves['gatedhkt.intensity.neck'])


def test_by_iteration(tmp_path):

    def cfg(folder, **options):
        cfg = config(folder, 'mmhkt.Alone', **options)
        cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
        cfg.train_cfg = dict(
            type='IterBasedTrainLoop', max_iters=10, val_interval=5)
        cfg.param_scheduler = None
        cfg.default_hooks.checkpoint = dict(
            type='CheckpointHook', by_epoch=False, interval=5)
        cfg.default_hooks.logger = dict(
            type='LoggerHook', log_metric_by_epoch=False)
        return cfg

    run(cfg(tmp_path / 'whole'))
    noted = record(tmp_path / 'whole')
    assert noted['unit'] == 'iter'
    assert list(noted['validations']) == ['5', '10']
    assert len(noted['batches']) == 3  # after 256 images, 512, and the last
    with pytest.raises(Kill):
        run(cfg(tmp_path / 'cut', kill=('val', 5)))
    run(cfg(tmp_path / 'cut', resume=True))
    assert lasting(record(tmp_path / 'cut')) == lasting(noted)


def test_weights_that_are_not_finite(tmp_path, whole):
    assert whole[2]['finite']
    cfg = config(tmp_path, 'mmhkt.Alone')
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e30))
    cfg.param_scheduler = None
    cfg.train_cfg.max_epochs = 1
    # It would skip such steps.
    cfg.default_hooks.divergence = None
    run(cfg)
    noted = record(tmp_path)
    assert noted['finished'] and not noted['finite']
    assert state_of(tmp_path, noted) == 'diverged'


def test_with_the_plain_runner(tmp_path):
    cfg = config(tmp_path, 'mmhkt.Alone')
    cfg.runner_type = 'Runner'
    run(cfg)
    noted = record(tmp_path)
    assert noted['finished'] and noted['parameters'] == 5006
    assert list(noted['validations']) == ['1', '2']


def test_checkpoint_can_be_read_without_pickle(whole):
    folder = whole[0]
    torch.load(folder / 'child.pth', weights_only=True)
    info = read(folder / 'epoch_3.pth')['message_hub']['runtime_info']
    assert info['record']['batches'] == whole[2]['batches']


class Line(BaseModel):
    """Fits a line and holds, while it does, the memory of a script."""

    def __init__(self, memory):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)
        self.memory = memory

    def forward(self, inputs, mode):
        self.memory.use()
        return dict(loss=self.line(inputs).square().mean())


class Memory:
    """A GPU's, with the most that each step holds. 100 are kept throughout."""

    def __init__(self, monkeypatch, steps):
        self.steps, self.peak = iter(steps), 100
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0')  # for the logger
        monkeypatch.setattr('torch.cuda.is_available', lambda: True)
        monkeypatch.setattr(
            'torch.cuda.max_memory_allocated', lambda device=None: self.peak)
        monkeypatch.setattr('torch.cuda.get_device_name', lambda: 'a GPU')
        monkeypatch.setattr('torch.cuda.reset_peak_memory_stats', self.reset)
        monkeypatch.setattr('mmengine.runner.log_processor.is_cuda_available',
                            lambda: True)

    def use(self):
        self.peak = max(self.peak, next(self.steps))

    def reset(self):
        self.peak = 100


def train_line(folder, memory, max_epochs, resume=False, interval=1):
    Runner(
        Line(memory),
        work_dir=str(folder),
        train_dataloader=DataLoader(
            [dict(inputs=torch.ones(1))] * 8, batch_size=2),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=interval)),
        custom_hooks=[dict(type='mmhkt.RecordHook')],
        resume=resume,
        experiment_name=uuid.uuid4().hex).train()
    return record(folder)['peak_memory']


@pytest.mark.parametrize('interval', [1, 3, 10])
@pytest.mark.parametrize('steps', [[900, 200, 300, 400], [200, 300, 900, 400]])
def test_peak_memory_though_the_logger_resets_it(tmp_path, monkeypatch, steps,
                                                 interval):
    memory = Memory(monkeypatch, steps)
    assert train_line(tmp_path, memory, 1, interval=interval) == 900
    # and when it is resumed, in another process
    memory.reset()
    memory.steps = iter([500, 600, 700, 800])
    assert train_line(tmp_path, memory, 2, resume=True) == 900
