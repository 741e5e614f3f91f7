# Copyright (c) mmhkt authors. All rights reserved.
"""Steps that are not finite are skipped, counted and named."""
import copy
import json
import math
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from flow_helpers import flow_config
from helpers import digits_config, prepared, read
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from sync_helpers import no_sync
from test_methods.test_all_methods import ALL, OF_FLOW
from torch.utils._python_dispatch import TorchDispatchMode

from mmhkt.comparison.records import state_of as state_of_run
from mmhkt.models.watch import Diverged, Watch
from mmhkt.registry import RUNNERS
from mmhkt.runner import AutocastOptimWrapper


@pytest.fixture
def scaled(monkeypatch):
    """mmengine's wrapper with a gradient scaler, on a CPU."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available',
                        lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler',
                        partial(torch.amp.GradScaler, 'cpu', init_scale=8.))
    # The device is not what is tested, and bfloat16 does not overflow.
    monkeypatch.setattr(
        amp_optimizer_wrapper.AmpOptimWrapper, 'optim_context',
        lambda self, model: torch.autocast('cpu', dtype=torch.bfloat16))
    return amp_optimizer_wrapper.AmpOptimWrapper


def config_of(folder, method, **options):
    if method in OF_FLOW:
        return flow_config(folder, method, **options)
    return digits_config(folder, method, **options)


def batch_of(runner):
    loader = runner.train_dataloader
    return loader.collate_fn([loader.dataset[i] for i in range(4)])


@contextmanager
def poisoned(model, place):
    """One value that is not finite, somewhere in what a step computes."""
    if place == 'image':
        owner, name = model.data_preprocessor, 'forward'
    elif place == 'parent':
        owner, name = model.parent.extraction, 'read'
    else:
        owner, name = model.child.head, 'loss'
    right = getattr(owner, name)

    def wrong(*args, **kwargs):
        result = right(*args, **kwargs)
        if place == 'image':
            result['inputs'][0, 0, 0, 0] = math.nan
        elif place == 'parent':
            for _, feature in model.parent.extraction.seen():
                feature.data.view(-1)[0] = math.inf
        else:
            result = {key: math.nan * value for key, value in result.items()}
        return result

    setattr(owner, name, wrong)
    try:
        yield
    finally:
        delattr(owner, name)


def state_of(model, optimizer):
    state = {**model.state_dict(), **model.methods.state_dict()}
    kept = {
        (i, key): value
        for i, of in enumerate(optimizer.state.values())
        for key, value in of.items() if torch.is_tensor(value)
    }
    return copy.deepcopy((dict(
        (k, v) for k, v in model.named_parameters()), state, kept))


@pytest.mark.parametrize('method', ALL)
def test_one_bad_step(tmp_path, method, scaled, monkeypatch):
    runner = RUNNERS.build(config_of(tmp_path, method))
    runner.connect()
    model, batch = runner.inheritance, batch_of(runner)
    places = ['image', 'parent', 'loss']
    if model.parent is None:
        places.remove('parent')
    if method in OF_FLOW:
        places.remove('loss')
    model.train()
    clean = copy.deepcopy(model.state_dict())
    # As on an accelerator, and as on a CPU.
    for wrapper, reads in ((OptimWrapper, True), (AutocastOptimWrapper, False),
                           (scaled, False)):
        model.load_state_dict(clean)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, foreach=True)
        optim_wrapper = wrapper(optimizer=optimizer)
        model.watch = watch = Watch()
        monkeypatch.setattr(watch, 'reads', lambda _, reads=reads: reads)
        watch.guard(optimizer)

        def step():
            model.train_step(copy.deepcopy(batch), optim_wrapper)
            watch.end_step(optim_wrapper.should_update())

        with model.tapped():
            step()
            for place in places:
                before = state_of(model, optimizer)
                with poisoned(model, place):
                    step()
                after = state_of(model, optimizer)
                for (key, one), other in zip(before[0].items(),
                                             after[0].values()):
                    assert torch.equal(one, other), key
                assert all(v.isfinite().all() for v in after[1].values())
                for (number, key), one in before[2].items():
                    if key != 'step':
                        assert torch.equal(one, after[2][number, key])
                step()
            steps = watch.look()
        bad = [s for s in steps if s.skipped]
        assert [s.iteration for s in bad] == [s.iteration for s in steps
                                              ][1::2], (wrapper, steps)
        for s, place in zip(bad, places):
            begin = dict(
                image='the images', parent="the parent's", loss='the term')
            assert s.names[0].startswith(begin[place]), s
            assert s.names[-1] == 'the loss'
        assert watch.look() == []


def test_nothing_is_waited_for():
    """The guard of a step, as on an accelerator, in which nothing is read."""
    watch, weight = Watch(), torch.nn.Parameter(torch.ones(3))
    watch.reads = lambda _: False
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9)
    watch.guard(optimizer)
    for factor in (math.inf, 1., math.nan, 1.):
        with no_sync():
            loss = factor * weight.sum()
            watch.note({'the loss': loss}, loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.end_step(True)
    assert [step.skipped for step in watch.look()] == [1, 0, 1, 0]
    # Two steps of momentum: 0.1 and 0.19.
    assert torch.allclose(weight, torch.tensor(0.71))


def test_accumulated_gradients():
    watch, weight = Watch(), torch.nn.Parameter(torch.ones(3))
    optimizer = OptimWrapper(
        torch.optim.SGD([weight], 0.1), accumulative_counts=2)
    watch.guard(optimizer.optimizer)
    for factor in (math.nan, 1., 1., 1.):
        loss = factor * weight.sum()
        watch.note({'the loss': loss}, loss)
        optimizer.update_params(loss)
        watch.end_step(optimizer.should_update())
    assert [(s.iteration, s.skipped, s.names)
            for s in watch.look()] == [(2, 1, ['the loss']), (4, 0, [])]
    assert torch.allclose(weight, torch.tensor(0.9))


class Poison(Hook):
    """Makes the batches of some iterations not finite."""
    priority = 'LOWEST'

    def __init__(self, bad):
        self.bad = bad

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        # The last of its biases: of a classifier's head, or of a flow's.
        bias = [
            value
            for name, value in runner.inheritance.child.named_parameters()
            if name.endswith('bias')
        ][-1]
        bias.data.fill_(math.nan if runner.iter + 1 in self.bad else 0.)


def bad_run(folder, bad, **options):
    cfg = digits_config(folder, **options)
    cfg.custom_hooks = [
        dict(type=Poison, bad=bad),
        dict(type='mmhkt.RecordHook')
    ]
    runner = RUNNERS.build(cfg)
    return runner, lambda: json.loads((folder / 'record.json').read_text())


def test_a_run_with_a_bad_step_goes_on_and_says_so(tmp_path):
    runner, record = bad_run(tmp_path, [3])
    runner.train()
    assert record()['finished'] and record()['diverged'] is None
    assert record()['skipped'] == 1
    assert (tmp_path / 'child.pth').exists()


@pytest.mark.parametrize('method', [*ALL, None])
def test_a_run_of_bad_steps_never_counts_as_finished(tmp_path, method):
    """Stopped on its way, or at the end if it is shorter than the patience."""
    options = {'default_hooks.divergence.patience': 2} if method else {}
    cfg = config_of(tmp_path, method or 'mmhkt.HKT', **options)
    cfg.custom_hooks = [
        dict(type=Poison, bad=range(100)),
        dict(type='mmhkt.RecordHook')
    ]
    with pytest.raises(Diverged, match='2 steps' if method else '8 steps'):
        RUNNERS.build(cfg).train()
    record = json.loads((tmp_path / 'record.json').read_text())
    assert not record['finished'] and 'diverged' in record['diverged']
    assert state_of_run(tmp_path) == 'diverged'
    assert not (tmp_path / 'child.pth').exists()


def test_iterations_of_one_step_are_counted_as_one(tmp_path):
    """Eight iterations, two steps: both skipped, the run looked whole."""
    runner, record = bad_run(tmp_path, range(100),
                             **{'optim_wrapper.accumulative_counts': 4})
    with pytest.raises(Diverged, match='2 steps'):
        runner.train()
    assert not record()['finished'] and record()['diverged']


def test_a_child_that_is_not_finite_at_the_end_is_not_exported(tmp_path):
    runner, record = bad_run(tmp_path, [])

    class Spoil(Hook):
        priority = 'HIGHEST'

        def after_train(self, runner):
            runner.model.head.fc.bias.data[0] = math.nan

    runner.register_hook(Spoil())
    with pytest.raises(Diverged, match='head.fc.bias'):
        runner.train()
    assert not (tmp_path / 'child.pth').exists()
    assert not record()['finished'] and record()['diverged']


def test_weights_that_are_not_finite_are_refused(tmp_path):
    runner = RUNNERS.build(digits_config(tmp_path / 'a', 'mmhkt.Alone'))
    weights = runner.model.state_dict()
    weights['backbone.conv1.weight'][0, 0, 0, 0] = math.inf
    file = tmp_path / 'bad.pth'
    torch.save(dict(state_dict=weights), file)
    child = 'not finite, backbone.conv1.weight'
    with pytest.raises(ValueError, match=child):
        prepared(
            digits_config(
                tmp_path / 'b',
                parent=dict(config=runner.cfg.to_dict(),
                            checkpoint=str(file))))
    for options in (dict(load_from=str(file)),
                    dict(load_from=str(file), resume=True)):
        cfg = digits_config(tmp_path / 'c', 'mmhkt.Alone', **options)
        torch.save(
            dict(
                read(file),
                meta=dict(epoch=1, iter=1),
                message_hub={},
                optimizer=dict(state={}, param_groups=[]),
                param_schedulers=[],
                transfer=dict(
                    methods=['Alone'],
                    format=2,
                    state_dict={},
                    optimizer=dict(state={}, param_groups=[]))), file)
        with pytest.raises(ValueError, match=child):
            RUNNERS.build(cfg).train()


class Operations(TorchDispatchMode):
    """Counts what is dispatched."""
    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('width', [8, 64])
def test_what_it_costs_does_not_grow_with_the_weights(monkeypatch, width):
    """Where the host does not wait, a step is some operations dearer, whatever
    the number of its tensors."""
    layers = [
        torch.nn.Parameter(
            torch.rand(3, 2, 5, 5).to(memory_format=torch.channels_last))
        for _ in range(width)
    ]
    optimizer = torch.optim.SGD(layers, .1, .9, foreach=True)
    watch, counts = Watch(), []
    monkeypatch.setattr(watch, 'reads', lambda _: False)
    for guarded in (False, True):
        if guarded:
            watch.guard(optimizer)
        for _ in range(2):
            for p in layers:
                p.grad = torch.ones_like(p)
            with Operations() as operations:
                optimizer.step()
        counts.append(operations.count)
    assert counts[1] - counts[0] < 20, counts
    before = copy.deepcopy(layers)
    for p in layers:
        p.grad = torch.full_like(p, math.nan)
    optimizer.step()
    assert all(map(torch.equal, before, layers))
