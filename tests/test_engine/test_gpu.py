# Copyright (c) mmhkt authors. All rights reserved.
"""Whole small trainings and all commands on a GPU: ``pytest -m gpu``.

What is computed is tested on the CPU; here, that it is computed on a GPU at
all, by the same settings, and comes to the same.
"""
import copy
import json
import math
import os
import subprocess
import sys

import pytest
import torch
from flow_helpers import flow_config
from helpers import CONFIGS, REPO, cut_off, digits_config, run, tool
from mmengine.hooks import Hook
from seg_helpers import tiny_config
from torch import nn

import mmhkt
from mmhkt.registry import RUNNERS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason='needs a CUDA device, and `pytest -m gpu`')
]

FLOAT16 = dict(
    type='AmpOptimWrapper',
    dtype='float16',
    # At 65,536 a run of eight steps would have more than one skipped.
    loss_scale=dict(init_scale=256.))
DEFAULT = dict(type='OptimWrapper')
BFLOAT16 = dict(type='AmpOptimWrapper', dtype='bfloat16')
DETERMINISTIC = {'randomness.deterministic': True}
# Images as they are.
UNCHANGED = {
    'train_dataloader.dataset.pipeline': [dict(type='PackInputs')],
    'default_hooks.logger.interval': 1
}


def losses_of(runner):
    return list(runner.message_hub.log_scalars['train/loss'].data[0])


def is_finite(runner):
    return all(v.isfinite().all() for v in runner.model.state_dict().values())


@pytest.mark.parametrize('wrapper', [
    DEFAULT, FLOAT16, BFLOAT16,
    dict(type='mmhkt.AutocastOptimWrapper')
], ids=['float32', 'float16', 'bfloat16', 'autocast'])  # yapf: disable
@pytest.mark.parametrize('method', [
    'mmhkt.HKT', 'mmhkt.GatedHKT', 'mmhkt.LePoKet', 'mmhkt.KD', 'mmhkt.DKD',
    'mmhkt.ReviewKD', 'mmhkt.CRD', 'mmhkt.OFD', 'mmhkt.VID',
    dict(type='mmhkt.FitNet', sites='stages'),
    dict(type='mmhkt.GatedHKT', sites='all', weights=dict(parent_head=0.5))
], ids=lambda m: str(m.get('type') if isinstance(m, dict) else m)
)  # yapf: disable
def test_precisions(tmp_path, method, wrapper):
    cfg = digits_config(tmp_path, method)
    cfg.optim_wrapper.update(wrapper)
    runner = run(cfg)
    assert next(runner.model.parameters()).is_cuda
    assert runner.inheritance.parent.network.head.fc.weight.is_cuda
    assert is_finite(runner)
    assert all(map(math.isfinite, losses_of(runner)))


class Poison(Hook):
    """Makes one batch not finite."""

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        own = runner.model.data_preprocessor
        if runner.iter == 3:
            self.std = own.std.clone()
            own.std.zero_()
        elif runner.iter == 4:
            own.std.copy_(self.std)


@pytest.mark.parametrize(
    'wrapper', [DEFAULT, FLOAT16, BFLOAT16],
    ids=['float32', 'float16', 'bfloat16'])
def test_a_bad_batch(tmp_path, wrapper):
    """It is skipped, counted and named."""
    cfg = digits_config(tmp_path)
    cfg.optim_wrapper.update(wrapper)
    cfg.custom_hooks = [dict(type=Poison)]
    runner = run(cfg)
    assert runner.message_hub.runtime_info['skipped']['skipped'] == 1
    assert 'the images' in next(tmp_path.glob('*/*.log')).read_text()
    # The norms' running statistics are no weights, and have seen it.
    weights = dict(runner.model.named_parameters())
    assert all(v.isfinite().all() for v in weights.values())


@pytest.mark.parametrize('optimizer', [
    dict(type='SGD', lr=.1, momentum=.9),
    dict(type='AdamW', lr=1e-3),
    dict(type='AdamW', lr=1e-3, fused=True),
])
def test_a_step_that_is_skipped_leaves_no_trace(tmp_path, optimizer):
    cfg = digits_config(tmp_path)
    cfg.optim_wrapper.optimizer = optimizer
    runner = RUNNERS.build(cfg)
    runner.connect()
    model = runner.inheritance
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    model.watch.guard(wrapper.optimizer)
    batch = next(iter(runner.train_dataloader))

    def state():
        return [p.detach().clone() for p in model.child.parameters()] + [
            v.clone() for s in wrapper.optimizer.state.values()
            # A count that is on the host goes on.
            for v in s.values() if torch.is_tensor(v) and v.is_cuda
        ]

    def step(batch):
        model.train().train_step(batch, wrapper)
        model.watch.end_step(True)
        return model.watch.look()[0].skipped

    bad = copy.deepcopy(batch)
    bad['inputs'] = [x.float() * math.nan for x in bad['inputs']]
    with model.tapped():
        assert not step(copy.deepcopy(batch))
        before = state()
        assert step(bad)
        assert all(map(torch.equal, before, state()))
        assert not step(batch)
        assert not all(map(torch.equal, before, state()))


@pytest.mark.slow
def test_compiled(tmp_path):
    """By the real compiler: losses are those of the plain step."""
    plain, compiled = (
        losses_of(
            run(
                digits_config(
                    tmp_path / str(on),
                    compile=on,
                    **{'default_hooks.logger.interval': 1})))
        for on in (False, True))
    assert compiled == pytest.approx(plain, rel=0.02)


def test_resumed_is_uninterrupted(tmp_path):
    """To the bit, where the recipe asks for deterministic algorithms."""
    whole = run(digits_config(tmp_path / 'whole', **DETERMINISTIC))
    again = run(digits_config(tmp_path / 'again', **DETERMINISTIC))
    cut_off(tmp_path / 'whole', tmp_path / 'cut', 'epoch_2.pth')
    resumed = run(
        digits_config(tmp_path / 'cut', resume=True, **DETERMINISTIC))
    for other in (again, resumed):
        for key, value in whole.model.state_dict().items():
            assert torch.equal(value, other.model.state_dict()[key]), key


def test_features_kept(tmp_path):
    """Written from the GPU and read back to it, they are the parent's."""
    parent = dict(
        config=str(CONFIGS / 'alone/resnet20_digits.py'), random_weights=True)
    options = {**UNCHANGED, **DETERMINISTIC}
    plain = run(digits_config(tmp_path / 'a', parent=parent, **options))
    kept = run(
        digits_config(
            tmp_path / 'b',
            parent=dict(**parent, cache=str(tmp_path / 'cache')),
            **options))
    assert list((tmp_path / 'cache').rglob('*'))
    assert losses_of(kept) == pytest.approx(losses_of(plain), rel=1e-3)


def test_cheaper_parents(tmp_path):
    """Also folded norms, although convolutions take TF32."""
    assert torch.backends.cudnn.allow_tf32
    parent = dict(
        config=str(CONFIGS / 'alone/resnet20_digits.py'), random_weights=True)
    plain = losses_of(run(digits_config(tmp_path / 'plain', parent=parent)))
    for i, settings in enumerate(
        (dict(fold_norms=True), dict(memory_format='channels_last'),
         dict(dtype='bfloat16', fold_norms=True), dict(dtype='float16'))):
        cfg = digits_config(
            tmp_path / str(i),
            parent=dict(**parent, **settings),
            memory_format='channels_last')
        assert losses_of(run(cfg)) == pytest.approx(plain, rel=0.2)


def test_in_python():
    """``mmhkt.inherit`` with everything on the GPU."""

    class Plain(nn.Sequential):

        def __init__(self, width):
            super().__init__()
            for name, module in dict(
                    stem=nn.Conv2d(3, width, 3, 2, 1),
                    late=nn.Conv2d(width, width, 3, 2, 1),
                    pool=nn.AdaptiveAvgPool2d(1),
                    flat=nn.Flatten(),
                    fc=nn.Linear(width, 3)).items():
                self.add_module(name, module)

    images = torch.randn(6, 3, 16, 16, device='cuda')
    labels = torch.tensor([0, 1, 2, 0, 1, 2], device='cuda')
    for method in ('mmhkt.HKT', 'mmhkt.DKD'):
        child = Plain(4).cuda()
        loss = mmhkt.inherit(child, Plain(16), images, method, steps=4)
        with loss:
            loss(images, labels).backward()
        assert child.stem.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    'wrapper', [DEFAULT, FLOAT16], ids=['float32', 'float16'])
def test_segmentation(tmp_path, wrapper):
    cfg = tiny_config(tmp_path, 'mmhkt.HKT')
    cfg.optim_wrapper.update(wrapper)
    runner = run(cfg)
    assert next(runner.model.parameters()).is_cuda and is_finite(runner)


@pytest.mark.parametrize(
    'wrapper', [DEFAULT, BFLOAT16], ids=['float32', 'bfloat16'])
def test_flow(tmp_path, wrapper):
    cfg = flow_config(tmp_path, 'mmhkt.HKT')
    cfg.optim_wrapper.update(wrapper)
    runner = run(cfg)
    assert next(runner.model.parameters()).is_cuda and is_finite(runner)


def test_images_on_the_device(tmp_path):
    """Batches are made on the GPU, the same as made before it."""
    options = {**UNCHANGED, **DETERMINISTIC}
    losses = []
    for on_device in (False, True):
        cfg = digits_config(tmp_path / str(on_device), **options)
        cfg.train_dataloader.on_device = on_device
        losses.append(losses_of(run(cfg)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_checkpointed_blocks(tmp_path):
    """Activations computed anew are those that were there."""
    losses = []
    for with_cp in (False, True):
        cfg = digits_config(tmp_path / str(with_cp), **DETERMINISTIC)
        cfg.model.backbone = dict(
            type='mmpretrain.ResNet',
            depth=18,
            stem_channels=8,
            base_channels=8,
            with_cp=with_cp)
        cfg.model.head.in_channels = 64
        losses.append(losses_of(run(cfg)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


SYNCED = """
import sys
from helpers import digits_config
from mmhkt.registry import RUNNERS

cfg = digits_config(sys.argv[1], launcher='pytorch', sync_bn='torch')
runner = RUNNERS.build(cfg)
runner.train()
kinds = {type(m).__name__ for m in runner.model.modules()}
assert 'SyncBatchNorm' in kinds, kinds
parents = {type(m).__name__ for m in runner.inheritance.parent.modules()}
assert 'SyncBatchNorm' not in parents, parents
"""


@pytest.mark.slow
def test_synced_norms(tmp_path):
    """DistributedDataParallel by NCCL, of one process."""
    script = tmp_path / 'script.py'
    script.write_text(SYNCED)
    done = subprocess.run([
        sys.executable, '-m', 'torch.distributed.run', '--standalone',
        '--nproc-per-node', '1',
        str(script),
        str(tmp_path / 'run')
    ],
                          env=dict(
                              os.environ,
                              PYTHONPATH=os.pathsep.join([
                                  str(REPO),
                                  str(REPO / 'tests'),
                                  os.environ.get('PYTHONPATH', '')
                              ])),
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'run/child.pth').exists()


COMPARISON = """
_base_ = '{configs}/hkt/hkt_resnet20_resnet8-narrow_digits.py'
parent = dict(_delete_=True, config='{configs}/alone/resnet20_digits.py',
              random_weights=True)
train_cfg = dict(max_epochs=2)
train_dataloader = dict(dataset=dict(indices=256))
val_dataloader = dict(dataset=dict(indices=64))
test_dataloader = dict(dataset=dict(indices=64))
comparison = dict(methods=['mmhkt.Alone', 'mmhkt.HKT'], seeds=[0, 1])
"""


@pytest.mark.slow
def test_commands(tmp_path):
    """The whole way, each command in a process of its own."""

    def call(name, *args):
        return tool(name, *args, cwd=tmp_path, fork=False).stdout

    (tmp_path / 'my.py').write_text(COMPARISON.format(configs=CONFIGS))
    # Two trainings at once on one GPU, and what a step costs there.
    call('compare.py', 'my.py', '--jobs', '2', '--amp')
    folder = tmp_path / 'work_dirs/my'
    costs = json.loads((folder / 'costs.json').read_text())
    assert costs['device'] == torch.cuda.get_device_name()
    assert all(seconds > 0 for seconds in costs['medians'].values())
    record = json.loads((folder / 'hkt/seed_0/record.json').read_text())
    assert record['setup']['device'] == torch.cuda.get_device_name()
    call('inspect_inheritance.py', folder)
    config, child = folder / 'hkt/seed_0.py', folder / 'hkt/seed_0/child.pth'
    assert 'accuracy/top1' in call('test.py', config, child)
    call('export_child.py', child.with_name('epoch_2.pth'), 'plain.pth')
    # It can be read where there is no GPU.
    plain = torch.load(tmp_path / 'plain.pth', weights_only=False)
    assert not any(v.is_cuda for v in plain['state_dict'].values())
    call('print_pairing.py', 'my.py')
    call('train.py', config, '--work-dir', 'again', '--amp')
    assert (tmp_path / 'again/child.pth').exists()
