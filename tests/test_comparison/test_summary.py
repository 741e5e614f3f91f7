# Copyright (c) mmhkt authors. All rights reserved.
import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config
from rich.console import Console

from mmhkt.comparison import costs
from mmhkt.comparison.costs import (CostsError, kept_costs, known_costs,
                                    measure_costs)
from mmhkt.comparison.display import display, table_of
from mmhkt.comparison.entries import Entry
from mmhkt.comparison.plan import Plan
from mmhkt.comparison.statistics import add_statistics
from mmhkt.comparison.summary import summarise
from mmhkt.comparison.view import View
from mmhkt.utils.config import ConfigError


def record(scores, finished=True, memory=100, **more):
    return dict(
        finished=finished,
        initial_weights='w',
        parent_weights=None,
        batches={'4': 'x'},
        validations={
            str(step): dict(loss=score)
            for step, score in scores.items()
        },
        unit='iter',
        iter=max(scores, default=0),
        max_iters=20,
        peak_memory=memory,
        parameters=7,
        extra_parameters=0,
        **{
            'setup':
            dict(
                device='CPU',
                threads=1,
                test_data=dict(type='Digits', images=9, split=None),
                packages=dict(torch='2')),
            **more
        })


@pytest.fixture
def plan(tmp_path):
    entries = [
        Entry('alone', 'Alone', Config(dict(method=dict(type='mmhkt.Alone')))),
        Entry(
            'hkt+kd', 'HKT + KD',
            Config(
                dict(
                    method=[dict(type='mmhkt.HKT'),
                            dict(type='mmhkt.KD')],
                    parent=dict(config='a/big.py')))),
    ]
    return Plan('title', tmp_path, entries, [0, 1], 'alone', metric='loss')


def write(plan, *records):
    for run, one in zip(plan.runs, records):
        run.folder.mkdir(parents=True, exist_ok=True)
        if one is not None:
            (run.folder / 'record.json').write_text(json.dumps(one))


def test_summary(plan):
    write(plan, record({
        10: .5,
        20: .6
    }), record({
        10: .4,
        20: .3
    }, memory=150, step=.25), record({20: .7}), record({10: .2},
                                                       finished=False))
    (plan.runs[3].folder / 'failed.txt').write_text('exit code 1: why')
    costs = dict(medians={'alone': 2., 'hkt+kd': 3.}, flops=9)
    found = summarise(plan, 'again', costs)
    json.dumps(found)
    assert found['metric'] == dict(name='loss', higher_is_better=False)
    assert (found['unit'], found['seeds']) == ('iter', [0, 1])
    assert found['parent'] == dict(name='big', score=None)
    assert found['deployed'] == dict(parameters=7, flops=9)
    alone, other = found['methods']
    assert other['config'] == [dict(type='mmhkt.HKT'), dict(type='mmhkt.KD')]
    assert (alone['runs'][0]['last'], alone['runs'][0]['best'],
            alone['runs'][0]['best_at']) == (.6, .5, 10)
    assert other['runs'][0]['best_at'] == 20
    assert [run['seconds'] for run in other['runs']] == [5., None]
    failed = other['runs'][1]
    assert failed['state'] == 'failed' and failed['last'] is None
    assert failed['curve'] == [[10, .2]]
    assert failed['error'] == 'exit code 1: why'
    assert failed['folder'] == 'hkt+kd/seed_1'
    assert other['cost'] == dict(
        step=3., relative_step=1.5, relative_memory=1.5, extra_parameters=0)


def test_parent_that_was_scored_before_a_run(plan):
    write(plan, record({20: .5}), record({20: .4},
                                         parent_scores=dict(loss=.1)))
    assert summarise(plan, '', None)['parent'] == dict(name='big', score=.1)


def test_what_has_not_begun_is_not_in_the_way(plan):
    write(plan, record({20: .5}))
    found = summarise(plan, 'again', None)
    run = found['methods'][1]['runs'][1]
    assert (run['state'], run['curve'], run['batches']) == ('waiting', [], {})
    assert found['methods'][1]['cost']['extra_parameters'] is None
    assert found['deployed']['flops'] is None


def test_metric_that_nothing_was_scored_by(plan):
    write(plan, record({20: .5}))
    with pytest.raises(ConfigError, match='by "los"; nearest: loss'):
        summarise(
            Plan(
                't',
                plan.folder,
                plan.entries, [0],
                'alone',
                metric='los',
                rule='less'), '', None)


def test_runs_on_several_machines(plan):
    one, other = record({20: .5}), dict(record({20: .5}), parameters=8)
    other['setup'].update(threads=2, device='GPU')
    # One of before there was a setup in records.
    write(plan, one, other, {k: v for k, v in one.items() if k != 'setup'})
    found = summarise(plan, 'again', None)
    assert found['environment'] == {
        'device': 'CPU; GPU',
        'threads': '1; 2',
        'test data': 'Digits, 9 images',
        'packages': 'torch 2'
    }
    assert found['deployed']['parameters'] == '7, 8'


def test_another_parent_under_the_same_name(plan):
    one, other = record({20: .5}), record({20: .5})
    one['parent_weights'], other['parent_weights'] = 'one', 'other'
    write(plan, record({20: .5}), one, record({20: .5}), other)
    found = summarise(plan, '', None)
    assert 'seed 1 had the parent other' in found['refused']
    # There is a report nevertheless, without differences.
    assert found['reference'] is None and len(found['methods']) == 2
    assert View(add_statistics(found)).warnings[0].startswith(found['refused'])


def test_runs_that_are_not_finite_have_diverged(plan):
    nan = float('nan')
    write(plan, record({20: .5}), record({
        10: .4,
        20: nan
    }), record({20: .5}, finite=False), record({20: .6}))
    alone, other = summarise(plan, '', None)['methods']
    for run in (other['runs'][0], alone['runs'][1]):
        assert (run['state'], run['last']) == ('diverged', None)
        assert 'not finite' in run['error']
    assert alone['runs'][0]['state'] == other['runs'][1]['state'] == 'finished'
    console = Console(file=io.StringIO(), width=100)
    console.print(table_of(plan))
    assert console.file.getvalue().count('diverged') == 2


def test_table_on_the_screen(plan):
    write(plan, record({20: .5}), record({10: .4}, finished=False))
    console = Console(file=io.StringIO(), width=100)
    console.print(table_of(plan))
    text = console.file.getvalue()
    for words in ('alone (reference)', 'finished 0.5', 'waiting 50% 0.4'):
        assert words in text
    assert 'seed_0' not in text
    console.print(table_of(plan, folders=True))
    assert 'finished 0.5 alone/seed_0' in console.file.getvalue()


@pytest.mark.parametrize('terminal', [True, False])
def test_display(plan, terminal):
    write(plan, record({20: .5}), record({10: .4}, finished=False))
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal)
    with display([plan], console) as (tell, watch):
        watch()
        tell('[hkt] started')
        watch()
    text = console.file.getvalue()
    assert '[hkt] started' in text
    assert ('all runs' in text and '38%' in text) == terminal


def test_costs_are_measured_once(plan, monkeypatch):
    """And what was measured stays, whichever methods are chosen later."""
    calls, speed = [], [1.0]

    def benchmark(command, **_):
        config, result = Path(command[4]), Path(command[-1])
        calls.append(list(Config.fromfile(config).comparison.methods))
        result.write_text(
            json.dumps(
                dict(
                    medians={name: speed[0] * len(name)
                             for name in calls[-1]},
                    totals={
                        name: [[1, speed[0] * len(name)]]
                        for name in calls[-1]
                    },
                    iterations=1)))
        return subprocess.CompletedProcess(command, 0, '', '')

    monkeypatch.setattr(costs.subprocess, 'run', benchmark)
    assert kept_costs(plan) is None
    alone = replace(plan, entries=plan.entries[:1])
    for one in (alone, alone, plan, plan, alone):
        # The second time on a machine twice as slow.
        measure_costs(one, {})
        speed[0] = 2.0
    assert calls == [['alone'], ['alone', 'hkt+kd']]
    assert kept_costs(plan)['medians'] == {'alone': 5, 'hkt+kd': 6}
    assert kept_costs(plan)['totals'] == {
        'alone': [[1, 5]],
        'hkt+kd': [[1, 6]]
    }
    # Another reference makes no step faster.
    assert kept_costs(replace(plan, reference='hkt+kd')) == kept_costs(plan)
    plan.entries[1].cfg.method[1].tau = 2
    assert kept_costs(plan) is None
    # A table goes with what is known.
    assert known_costs(plan)['medians'] == {'alone': 5}
    assert kept_costs(replace(plan, entries=plan.entries[:1]))
    measure_costs(plan, {})
    assert calls[2] == ['alone', 'hkt+kd']
    # Without the reference nothing of before can be related to.
    plan.entries[0].cfg.method.sees = 'own'
    measure_costs(plan, {})
    assert calls[3] == ['alone', 'hkt+kd']
    assert kept_costs(plan)['medians'] == {'alone': 10, 'hkt+kd': 12}
    for entry in plan.entries:
        entry.cfg.train_cfg = dict(max_epochs=3)
    assert kept_costs(plan) is None


def test_costs_are_those_of_a_parent_that_computes(plan, monkeypatch):

    def benchmark(command, **_):
        assert 'cache' not in Config.fromfile(command[4]).parent
        names = Config.fromfile(command[4]).comparison.methods
        figures = dict.fromkeys(names, 1.0)
        Path(command[-1]).write_text(
            json.dumps(
                dict(medians=figures, totals=dict.fromkeys(names,
                                                           [[1, 1.0]]))))
        return subprocess.CompletedProcess(command, 0, '', '')

    monkeypatch.setattr(costs.subprocess, 'run', benchmark)
    for entry in plan.entries:
        entry.cfg.parent = dict(config='parent.py', cache='features')
    measure_costs(plan, {})
    assert set(kept_costs(plan)['medians']) == {'alone', 'hkt+kd'}
    assert all(e.cfg.parent.cache == 'features' for e in plan.entries)


def test_costs_that_cannot_be_measured(plan, monkeypatch):
    monkeypatch.setattr(
        costs.subprocess, 'run',
        lambda command, **_: subprocess.CompletedProcess(
            command, 1, '', 'Traceback\nValueError: why\n'))
    with pytest.raises(CostsError, match='^ValueError: why$'):
        measure_costs(plan, {})
    assert kept_costs(plan) is None
    plan.entries[1].cfg.train_cfg = dict(max_epochs=3)
    with pytest.raises(CostsError, match='differ in more than'):
        measure_costs(plan, {})


def test_a_score_that_is_not_finite_is_not_the_best(plan):
    """NaN in the first validation hid all later ones."""
    nan = float('nan')
    write(plan, record({5: nan, 10: .5, 20: .6}), record({20: nan}))
    alone, other = summarise(plan, 'again', None)['methods']
    run = alone['runs'][0]
    assert (run['best'], run['best_at'], run['last']) == (.5, 10, .6)


def test_another_recipe_stands_above_the_table(plan):
    for entry, lr in zip(plan.entries, (0.1, 0.7)):
        entry.cfg.optim_wrapper = dict(optimizer=dict(lr=lr))
    write(plan, *[record({20: 1})] * len(plan.runs))
    warning, = (
        w for w in View(add_statistics(summarise(plan, '', None))).warnings
        if 'recipe' in w)
    assert warning.startswith('HKT + KD was trained by another recipe than '
                              'Alone: optim_wrapper.optimizer.lr. ')


def test_how_long_steps_took(plan):
    """By the mean where it is known: steps may be of several kinds."""
    write(plan, record({20: 1}, step=1., mean_step=2.), record({20: 1},
                                                               step=1.))
    runs = [
        run for m in summarise(plan, '', None)['methods'] for run in m['runs']
    ]
    assert sorted(run['seconds'] for run in runs if run['seconds']) == [20, 40]
