# Copyright (c) mmhkt authors. All rights reserved.
import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from mmhkt.comparison.budgets import (in_words, length_of, name_of, scaled,
                                      steps_of)
from mmhkt.utils.config import ConfigError, load_config, plain

EPOCHS = dict(
    train_cfg=dict(by_epoch=True, max_epochs=12, val_interval=6, val_begin=1),
    param_scheduler=[
        dict(type='LinearLR', by_epoch=False, begin=0, end=100),
        dict(type='CosineAnnealingLR', T_max=10, begin=2, end=12),
        dict(type='MultiStepLR', milestones=[6, 9], end=10**9),
    ],
    default_hooks=dict(checkpoint=dict(interval=3)),
    method=dict(schedule=[
        dict(knob='intensity', begin=0.0, end=0.7),
        dict(knob='weights.hint', unit='epoch', begin=0, end=8)
    ]))
ITERS = dict(
    train_cfg=dict(
        type='IterBasedTrainLoop',
        max_iters=600,
        val_interval=200,
        dynamic_intervals=[(0, 200), (500, 50)]),
    param_scheduler=dict(
        one=dict(type='OneCycleLR', total_steps=600, by_epoch=False),
        other=[dict(type='PolyLR', begin=1, end=2, by_epoch=False)]),
    default_hooks=dict(checkpoint=dict(interval=-1)))


def test_length():
    assert length_of(Config(EPOCHS)) == (12, 'epoch')
    assert length_of(Config(ITERS)) == (600, 'iter')
    with pytest.raises(ConfigError, match='need train_cfg.max_epochs'):
        length_of(Config(dict(train_cfg=dict())))


def test_length_in_words():
    assert in_words(1, 'epoch') == '1 epoch'
    assert in_words(30, 'epoch') == '30 epochs'
    assert in_words(3000, 'iter') == '3,000 iterations'


@pytest.mark.parametrize('budget, steps, name', [
    (1, 12, 'x1'),
    (0.5, 6, 'x0.5'),
    (2, 24, 'x2'),
    (0.01, 1, 'x0.01'),
    ('24 epochs', 24, '24_epochs'),
    ('24epochs', 24, '24_epochs'),
])
def test_budgets(budget, steps, name):
    assert steps_of(budget, Config(EPOCHS)) == steps
    assert name_of(budget) == name


@pytest.mark.parametrize('budget, message', [
    ('twice', "write a multiple of the config's 12 epochs, .* or '24 epochs'"),
    ('0 epochs', 'is none'),
    ('9 iters', 'that counts epochs'),
    (0, '0 is no multiple'),
    (True, 'True is no multiple'),
    (float('inf'), 'inf is no multiple'),
])
def test_budgets_that_are_none(budget, message):
    with pytest.raises(ConfigError, match=message):
        steps_of(budget, Config(EPOCHS))


def test_a_schedule_ends_with_its_period_however_it_is_rounded():
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=10),
            default_hooks=dict(checkpoint=dict(interval=2, save_begin=5)),
            param_scheduler=[
                dict(type='LinearLR', begin=0, end=3),
                dict(type='CosineAnnealingLR', T_max=7, begin=3, end=10),
                dict(type='CosineAnnealingLR', T_max=3, begin=3, end=10)
            ]))
    found = scaled(cfg, 5)
    _, cosine, several = found.param_scheduler
    assert [cosine[k] for k in ('begin', 'end', 'T_max')] == [2, 5, 3]
    assert several.T_max == 2  # several periods, as before
    assert found.default_hooks.checkpoint == dict(interval=1, save_begin=2)


def test_epochs_doubled():
    cfg = Config(EPOCHS)
    before = plain(cfg)
    found = plain(scaled(cfg, 24))
    assert plain(cfg) == before
    assert found['train_cfg'] == dict(
        by_epoch=True, max_epochs=24, val_interval=12, val_begin=2)
    warm_up, cosine, steps = found['param_scheduler']
    assert (warm_up['begin'], warm_up['end']) == (0, 200)
    assert [cosine[k] for k in ('T_max', 'begin', 'end')] == [20, 4, 24]
    assert (steps['milestones'], steps['end']) == ([12, 18], 10**9)
    assert found['default_hooks']['checkpoint']['interval'] == 6
    # What counts in parts of the run needs no change.
    assert found['method']['schedule'][0] == before['method']['schedule'][0]
    assert found['method']['schedule'][1]['end'] == 16


def test_iterations_shortened():
    found = scaled(Config(ITERS), 150)
    assert found.train_cfg.max_iters == 150
    assert found.train_cfg.val_interval == 50
    assert plain(found.train_cfg.dynamic_intervals) == [[0, 50], [125, 12]]
    assert found.param_scheduler.one.total_steps == 150
    # What would be no step is one.
    assert (found.param_scheduler.other[0].begin,
            found.param_scheduler.other[0].end) == (0, 1)
    assert found.default_hooks.checkpoint.interval == -1
    assert scaled(found, 150) is found


def rates(schedulers, steps, lr=0.8):
    """Of each step, as mmengine has it."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer))
        for one in schedulers
    ]
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.parametrize('epochs', [5, 10, 20, 40, 100])
def test_a_warm_up_ends_at_any_budget(epochs):
    """In a single step mmengine's would stay where it begins."""
    cfg = load_config('mmpretrain::_base_/schedules/imagenet_bs1024_coslr.py')
    found = scaled(cfg, epochs).param_scheduler
    assert len(found) == (2 if epochs >= 40 else 1)
    assert max(rates(found, epochs)) == pytest.approx(0.8, rel=0.02)


def test_a_warm_up_by_iteration_has_steps_in_an_epoch():
    warm_up = dict(
        type='LinearLR', end=1, by_epoch=True, convert_to_iter_based=True)
    cfg = Config(dict(train_cfg=dict(max_epochs=20), param_scheduler=warm_up))
    for epochs, end in (40, 2), (10, 0.5), (30, 1.5):
        found = scaled(cfg, epochs).param_scheduler
        assert found.end == end
        parameter = torch.nn.Parameter(torch.zeros(1))
        built = PARAM_SCHEDULERS.get('LinearLR').build_iter_from_epoch(
            torch.optim.SGD([parameter], 0.8), end=end, epoch_length=100)
        assert built.end == 100 * end


@pytest.mark.parametrize('before, after', [(100, 50), (100, 10), (100, 400),
                                           (12, 6), (12, 3), (12, 2), (9, 5)])
@pytest.mark.parametrize(
    'make', [
        lambda n: dict(type='MultiStepLR', milestones=[2 * n // 3, n - 1]),
        lambda n: dict(
            type='MultiStepLR', begin=1, milestones=[n // 2, n - 2], end=n),
        lambda n: dict(type='ExponentialLR', gamma=0.01**(1 / n)),
        lambda n: dict(type='StepLR', step_size=1, gamma=0.01**(1 / n)),
        lambda n: dict(type='StepLR', step_size=n // 3),
        lambda n: dict(type='StepLR', step_size=n - 1),
        lambda n: dict(type='CosineAnnealingLR', T_max=n - 1, begin=1),
        lambda n: dict(type='OneCycleLR', eta_max=0.8, total_steps=n),
        lambda n: dict(type='PolyLR', end=n),
    ],
    ids=lambda make: str(make(9)))
def test_the_same_curve_in_another_time(make, before, after):
    """At no step is the rate one that was not there a step sooner or later;
    decays come as often as before."""
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=before), param_scheduler=[make(before)]))
    found = plain(scaled(cfg, after).param_scheduler)
    was = rates(_ended([make(before)], before), before)
    now = rates(_ended(found, after), after)
    factor = after / before
    reach = max(1, 1 / factor)  # a step of the longer one
    for step, rate in enumerate(now):
        then = step / factor
        around = was[max(0, int(then - reach)):math.ceil(then + reach) + 1]
        if then <= before - 1:  # where the shorter one goes no further
            assert min(around) <= rate * (1 + 1e-6), (step, now, was)
        assert max(around) >= rate * (1 - 1e-6), (step, now, was)
    if len(set(was)) < after:
        assert len(set(now)) >= len(set(was))


def test_a_warm_up_of_next_to_no_steps_is_left_out():
    """mmengine's would stay where it begins, or be refused."""
    warm_up = dict(
        type='LinearLR', end=5, by_epoch=True, convert_to_iter_based=True)
    cfg = Config(dict(train_cfg=dict(max_epochs=100), param_scheduler=warm_up))
    assert scaled(cfg, 1).param_scheduler is None


def test_several_cycles_end_with_the_last():
    for before, after in (9, 5), (18, 10), (9, 4), (9, 12):
        cycles = dict(
            type='CosineRestartLR',
            periods=[before // 3] * 3,
            restart_weights=[1] * 3,
            eta_min=0)
        cfg = Config(
            dict(train_cfg=dict(max_epochs=before), param_scheduler=cycles))
        found = scaled(cfg, after).param_scheduler
        assert sum(found.periods) == after
        assert max(found.periods) - min(found.periods) <= 1
    cycle = dict(type='CosineRestartLR', periods=[305], begin=5, eta_min=0)
    cfg = Config(dict(train_cfg=dict(max_epochs=310), param_scheduler=cycle))
    found = scaled(cfg, 31).param_scheduler
    assert found.begin + sum(found.periods) == 31


def test_what_hooks_do_at_some_step():
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=300),
            custom_hooks=[
                dict(type='EMAHook', begin_epoch=100, interval=1),
                dict(
                    type='SwitchRecipeHook',
                    schedule=[
                        dict(
                            action_epoch=290,
                            pipeline=[
                                dict(type='X', max_iters=9, scale=(640, 640))
                            ])
                    ])
            ]))
    ema, switch = scaled(cfg, 150).custom_hooks
    assert (ema.begin_epoch, ema.interval) == (50, 1)
    assert switch.schedule[0].action_epoch == 145
    # A transform counts something else.
    assert switch.schedule[0].pipeline == [
        dict(type='X', max_iters=9, scale=(640, 640))
    ]
    assert isinstance(switch.schedule[0].pipeline[0].scale, tuple)
    assert scaled(cfg, 1).custom_hooks[1].schedule[0].action_epoch == 1


def test_a_scheduler_of_which_nothing_is_known():
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=4),
            param_scheduler=[dict(type='mine.SawtoothLR', teeth=4)]))
    assert scaled(cfg, 4) is cfg
    with pytest.raises(ConfigError, match='"SawtoothLR" goes in a training'):
        scaled(cfg, 2)


def _ended(schedulers, length):
    """With the end that mmengine gives them."""
    return [{'end': length, **one} for one in schedulers]
