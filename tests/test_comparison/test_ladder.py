# Copyright (c) mmhkt authors. All rights reserved.
import csv
import json
import math
from dataclasses import replace

import pytest
from browser import check_views, find_browser
from mmengine.config import Config
from rich.console import Console
from test_comparison.test_report import Outline, make_summary, set_last

from mmhkt.comparison.costs import costs_of, length_for, seconds_of
from mmhkt.comparison.display import table_of
from mmhkt.comparison.entries import Entry
from mmhkt.comparison.ladder import rungs_of
from mmhkt.comparison.ladder_report import crossings, write_ladder
from mmhkt.comparison.plan import Plan, Run


def totals(seconds, *longer):
    return [[1, seconds], [100, 100 * seconds], *longer]


# A hundred steps an epoch; one method is twice as dear for six epochs.
COSTS = dict(
    medians=dict(alone=0.1, hkt=0.2, kd=0.05),
    totals=dict(
        alone=totals(10.),
        hkt=[[1, 20.], [6, 120.], [100, 1060.]],
        kd=totals(5.)),
    iterations=100,
    flops=None)


@pytest.fixture
def plan(tmp_path):

    def cfg(kind):
        return Config(
            dict(
                method=dict(type=kind),
                train_cfg=dict(by_epoch=True, max_epochs=12)))

    return Plan(
        'my',
        tmp_path, [
            Entry('alone', 'Alone', cfg('mmhkt.Alone')),
            Entry('hkt', 'HKT', cfg('mmhkt.HKT')),
            Entry('kd', 'KD', cfg('mmhkt.KD'))
        ], [0, 1, 2],
        'alone',
        metric='accuracy/top1',
        budgets=(0.5, '24 epochs'))


def lengths(rung):
    return {e.name: e.cfg.train_cfg.max_epochs for e in rung.entries}


def test_a_comparison_for_each_budget(plan, tmp_path):
    short, long = rungs_of(plan, None)
    assert lengths(short) == dict(alone=6, hkt=6, kd=6)
    assert lengths(long) == dict(alone=24, hkt=24, kd=24)
    assert short.runs[1].folder == tmp_path / 'x0.5/hkt/seed_0'
    assert long.runs[1].folder == tmp_path / '24_epochs/hkt/seed_0'
    assert long.runs[1].name == 'hkt, seed 0, 24 epochs'
    assert len({run.name for rung in (short, long) for run in rung.runs}) == 18
    assert (short.score_parent, long.score_parent) == (True, False)
    assert lengths(plan) == dict(alone=12, hkt=12, kd=12)


def test_the_parent_that_all_budgets_share(plan, tmp_path):
    parent = Run(plan.entries[0], 0, tmp_path / 'parent')
    short, _ = rungs_of(replace(plan, parent=parent), None)
    assert short.parent.folder == tmp_path / 'parent'
    assert short.within(parent.folder) == '../parent'
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table_of(short, folders=True))
    assert '../parent' in shown.get() and 'hkt/seed_0' in shown.get()


def test_rows_of_equal_cost(plan):
    plan = replace(plan, equal_cost=True)
    # Not measured yet
    assert lengths(rungs_of(plan, None)[1]) == dict(alone=24, hkt=24, kd=24)
    _, long = rungs_of(plan, COSTS)
    assert lengths(long) == {
        'alone': 24,
        'hkt': 24,
        # 120 s for six epochs, and 120 s for twelve more.
        'hkt-equal-cost': 18,
        'kd': 24
    }
    assert long.entries[2].label == 'HKT, equal cost'
    # Of a step, the mean over the training.
    assert costs_of(COSTS, long)['medians'] == pytest.approx({
        'alone':
        0.1,
        'hkt': (120 + 18 * 10) / 2400,
        'hkt-equal-cost':
        240 / 1800,
        'kd':
        0.05
    })
    single, = rungs_of(replace(plan, budgets=()), COSTS)
    assert lengths(single)['hkt-equal-cost'] == 6
    assert single.folder == plan.folder
    # Beyond what was looked at it goes on as there.
    assert seconds_of(COSTS, 'hkt', 200) == pytest.approx(2120)
    assert length_for(COSTS, 'hkt', 2120) == pytest.approx(200)


def test_crossings():
    # 3 above at 10, 1 below at 40: three quarters of the way in log(length)
    assert crossings([10, 40], [3., -1.]) == [pytest.approx(10 * 4**.75)]
    assert crossings([1, 2, 4], [1., None, -1.]) == [pytest.approx(2.)]
    assert crossings([1, 2, 4], [3., 0., -1.]) == [2.]
    assert crossings([1, 2, 4], [0., 1., -1.]) == [pytest.approx(8**.5)]
    # No sign changes.
    assert crossings([1, 2, 4], [0., 0., 0.]) == []
    assert crossings([1, 2, 4], [1., 0., 2.]) == []
    assert crossings([1, 2], [1., .5]) == crossings([1], [1.]) == []


def test_what_must_not_be_overlooked_stands_above_the_ladder(plan):
    summaries = summaries_of(plan)
    summaries[0].update(refused='other batches', reference=None)
    summaries[0]['parent_weights'] = ['a']
    summaries[1]['parent_weights'] = ['b']
    paths = write_ladder(plan, rungs_of(plan, None), summaries)
    for path in paths[2:]:
        text = path.read_text()
        assert ': other batches' in text
        assert 'Not all columns had the same parent.' in text
        assert 'is the reference' in text and 'None' not in text


def summaries_of(plan):
    summaries = []
    for shift, rung in zip((5, -5), rungs_of(plan, None)):
        summary = make_summary(('alone', 'hkt', 'kd'))
        set_last(
            summary,
            dict(
                alone=[70, 71, 72],
                hkt=[70 + shift, 71.1 + shift, 71.9 + shift],
                kd=[math.nan] * 3))
        summary['methods'][1]['label'] = 'a <b>'
        summaries.append(summary)
    return summaries


@pytest.mark.slow
def test_in_a_browser(plan, tmp_path):
    browser = find_browser()
    write_ladder(plan, rungs_of(plan, None), summaries_of(plan))
    check_views(
        browser,
        tmp_path / 'ladder.html',
        tmp_path,
        '#ladder tbody tr:last-child td',
        plots=1)


def test_report_of_all_budgets(plan, tmp_path):
    summaries = summaries_of(plan)
    paths = write_ladder(plan, rungs_of(plan, None), summaries)
    texts = {path.suffix[1:]: path.read_text() for path in paths}
    ladder = json.loads(texts['json'], parse_constant=pytest.fail)
    hkt, kd = ladder['rows'][1:]
    assert [cell['verdict'] for cell in hkt['cells']] == ['better', 'worse']
    assert hkt['crossings'] == [pytest.approx(12)]
    assert [cell['text'] for cell in kd['cells']] == ['–', '–']
    rows = list(csv.DictReader(texts['csv'].splitlines()))
    assert [row['length'] for row in rows[:2]] == ['6', '24']
    assert '| a &lt;b> | **76.00 ± 0.95 +5.00 [' in texts['md']
    assert '- 24 epochs: [24_epochs](24_epochs/comparison.md)' in texts['md']
    outline = Outline(texts['html'])
    assert set(outline.tables) == {'ladder'}
    assert outline.figures == dict(ladder=1)
    assert 'script' not in [tag for tag, _ in outline.tags]
    assert 'href="x0.5/comparison.html"' in texts['html']
    # of both budgets, nine runs of half an hour each
    assert texts['md'].count('18 finished runs took 9.0 hours') == 1
    assert 'finished runs took' not in texts['md'].replace('18 finished', '')
    # One budget has no plot.
    write_ladder(plan, rungs_of(plan, None)[:1], summaries[:1])
    assert '<svg' not in (tmp_path / 'ladder.html').read_text()
