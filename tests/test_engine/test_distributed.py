# Copyright (c) mmhkt authors. All rights reserved.
"""Two processes, with the flags that a GPU gets."""
import json
import os
import subprocess
import sys

import pytest
import torch
from helpers import REPO, digits_config, read, run

from mmhkt.registry import RUNNERS

SCRIPT = """
import json, sys
import torch
from helpers import digits_config
from mmhkt.registry import RUNNERS

folder = sys.argv[1]
WRAPPER = dict(type='MMDistributedDataParallel', broadcast_buffers=True)
found = {}
for name, method, wrapper in [
    ('reviewkd', dict(type='mmhkt.ReviewKD'), WRAPPER),
    ('hkt', dict(type='mmhkt.HKT'), None),
    ('dkd', dict(type='mmhkt.DKD'), WRAPPER),
    ('lepoket', dict(type='mmhkt.LePoKet'), None),
    ('gated', dict(type='mmhkt.GatedHKT', sites='stages'), None),
]:
    cfg = digits_config(f'{folder}/{name}', method, launcher='pytorch', **{
        'train_dataloader.batch_size': 32, 'train_cfg.max_epochs': 1,
        'default_hooks.logger.interval': 1})
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if wrapper:
        cfg.model_wrapper_cfg = wrapper
    # One name in both processes.
    cfg.experiment_name = name
    runner = RUNNERS.build(cfg)
    runner.train()
    weights = torch.cat([
        p.detach().flatten() for p in runner.inheritance.parameters()])
    others = [torch.zeros_like(weights) for _ in range(2)]
    torch.distributed.all_gather(others, weights)
    history = runner.message_hub.log_scalars['train/loss'].data[0]
    found[name] = dict(
        unused=runner.trained.find_unused_parameters,
        broadcast=runner.trained.broadcast_buffers,
        plain=type(runner.model).__name__,
        same=bool(torch.equal(*others)),
        finite=bool(weights.isfinite().all()),
        losses=[float(x) for x in history])
if torch.distributed.get_rank() == 0:
    open(f'{folder}/found.json', 'w').write(json.dumps(found))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two')
    script = folder / 'script.py'
    script.write_text(SCRIPT)
    done = subprocess.run([
        sys.executable, '-m', 'torch.distributed.run', '--standalone',
        '--nproc-per-node', '2',
        str(script),
        str(folder)
    ],
                          env=dict(
                              os.environ,
                              PYTHONPATH=f'{REPO}{os.pathsep}{REPO / "tests"}',
                              OMP_NUM_THREADS='1'),
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads((folder / 'found.json').read_text())


@pytest.mark.slow
def test_unused_parameters_are_looked_for_where_a_schedule_turns_off(found):
    """Also beside a typed model_wrapper_cfg; and not where nothing is
    learned that could miss its gradient."""
    unused = {name: values['unused'] for name, values in found[1].items()}
    assert unused == dict(
        reviewkd=True, hkt=False, dkd=False, lepoket=True, gated=False)
    assert found[1]['reviewkd']['broadcast'] is True
    assert found[1]['hkt']['broadcast'] is False


@pytest.mark.slow
def test_both_processes_train_one_child(found):
    folder, values = found
    for name, value in values.items():
        assert value['same'] and value['finite'], name
        assert value['plain'] == 'ImageClassifier'
        file = read(folder / name / 'epoch_1.pth')
        assert not any(
            key.startswith(('module.', 'child.'))
            for key in file['state_dict'])


@pytest.mark.slow
def test_hints_do_not_depend_on_the_number_of_processes(found, tmp_path):
    """Two processes with half the batch, in the first step, whose batch is
    the same: the regression is that of both together."""
    cfg = digits_config(
        tmp_path, dict(type='mmhkt.HKT'), **{
            'train_dataloader.batch_size': 64,
            'train_cfg.max_epochs': 1,
            'default_hooks.logger.interval': 1
        })
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    alone = run(cfg).message_hub.log_scalars['train/loss'].data[0]
    # Norms see half a batch, and samples are augmented by rank.
    assert found[1]['hkt']['losses'][0] == pytest.approx(alone[0], rel=0.05)


def test_sync_bn_is_converted_before_anything_is_noted(tmp_path, monkeypatch):
    """On a GPU: every norm that is noted is one that is trained."""
    cfg = digits_config(tmp_path, 'mmhkt.GatedHKT')
    cfg.sync_bn = 'torch'
    runner = RUNNERS.build(cfg)
    module = 'mmhkt.runner.inheritance_runner'
    monkeypatch.setattr(f'{module}.get_device', lambda: 'cuda')
    monkeypatch.setattr(type(runner), 'distributed', True)
    monkeypatch.setattr(type(runner.model), 'to', lambda self, *_: self)
    runner.model = runner.wrap_model(None, runner.model)
    monkeypatch.undo()
    runner.connect()
    norms = [
        m for m in runner.model.modules()
        if isinstance(m, torch.nn.SyncBatchNorm)
    ]
    assert norms
    assert runner.inheritance._extraction.statistics._norms == norms
