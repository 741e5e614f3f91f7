# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt compare`` as a whole, with a script in the place of a training."""
import json
import sys
from argparse import Namespace

import pytest
from helpers import CONFIGS

from mmhkt.comparison import command, costs, launch
from mmhkt.utils.config import ConfigError

# Writes what a run would: HKT is better the longer it trains.
TRAIN = """
import json, os, sys
from pathlib import Path
config, _, folder, _ = sys.argv[1:]
text = Path(config).read_text()
epochs = int(text.split('max_epochs=')[1].split(',')[0].split(')')[0])
seed = int(folder.rpartition('_')[2])
score = 50 + seed / 1000
if '/hkt' in folder:
    score += epochs - 15 + seed / 5000
json.dump(dict(
    finished=True, initial_weights='w', parent_weights=None,
    batches={str(epochs): f'b{seed}{epochs}'}, unit='epoch',
    validations={str(epochs): {'accuracy/top1': score}},
    peak_memory=1, parameters=7, extra_parameters=0, iter=1, max_iters=1),
    open(folder + '/record.json', 'w'))
with open('trained', 'a') as file:
    print(os.path.relpath(folder, 'work_dirs/my'), epochs, file=file)
"""


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Runs a comparison; gives its exit status."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'train.py').write_text(TRAIN)
    monkeypatch.setattr(launch, 'TRAIN',
                        [sys.executable, '-S',
                         str(tmp_path / 'train.py')])
    monkeypatch.setattr(launch, 'TICK', 0.02)
    monkeypatch.setattr(sys, 'argv', ['mmhkt', 'my.py'])

    measured = command.measure_costs

    def measure(plan, environment):
        seconds = dict(alone=0.1, hkt=0.2, kd=0.1)
        monkeypatch.setattr(
            costs, '_benchmark', lambda cfg, _: dict(
                medians=seconds,
                totals={
                    name: [[1, 4 * s]]
                    for name, s in seconds.items()
                },
                iterations=4))
        measured(plan, environment)

    monkeypatch.setattr(command, 'measure_costs', measure)

    def run(comparison, **options):
        (tmp_path / 'my.py').write_text(
            f"_base_ = '{CONFIGS}/hkt/hkt_resnet20_resnet8-narrow_digits.py'\n"
            'parent = dict(random_weights=True, checkpoint=None)\n'
            f"comparison = dict(methods=['mmhkt.HKT'], {comparison})\n")
        return command.run(
            Namespace(
                **{
                    **dict(
                        configs=['my.py'],
                        work_dir=None,
                        seeds=None,
                        methods=None,
                        jobs=1,
                        gpus=[],
                        slurm=None,
                        amp=False,
                        dry_run=False,
                        report_only=False,
                        cfg_options=None),
                    **options
                }))

    return run


def trained(folder):
    return [
        line.split() for line in (folder / 'trained').read_text().splitlines()
    ]


def test_a_ladder(compare, tmp_path, capsys):
    comparison = 'seeds=[0, 1, 2], budgets=[0.5, 1], equal_cost=True'
    assert compare(comparison) == 0
    said = capsys.readouterr().out
    assert 'judged by accuracy/top1 (higher is better)' in said
    # 20 epochs; the shorter one first, the row of equal cost in half of it.
    done = trained(tmp_path)
    assert done[:3] == [['x0.5/alone/seed_0', '10'], ['x0.5/hkt/seed_0', '10'],
                        ['x0.5/hkt-equal-cost/seed_0', '5']]
    assert done[9:12] == [['x1/alone/seed_0', '20'], ['x1/hkt/seed_0', '20'],
                          ['x1/hkt-equal-cost/seed_0', '10']]
    assert len(done) == 18
    folder = tmp_path / 'work_dirs/my'
    ladder = json.loads((folder / 'ladder.json').read_text())
    assert [b['length'] for b in ladder['budgets']] == [10, 20]
    hkt, equal = ladder['rows'][1:]
    assert [c['verdict'] for c in hkt['cells']] == ['worse', 'better']
    assert hkt['crossings'] == [pytest.approx(14.14, abs=.01)]
    assert [round(c['difference']) for c in equal['cells']] == [-10, -5]
    assert (folder / 'ladder.html').is_file()
    found = json.loads((folder / 'x1/comparison.json').read_text())
    assert found['methods'][2]['cost']['relative_step'] == 2
    text = (folder / 'x1/comparison.md').read_text()
    assert 'not of the same length' not in text

    # Again: nothing is trained; another budget is.
    assert compare(comparison) == 0 and len(trained(tmp_path)) == 18
    assert compare("seeds=[0, 1, 2], budgets=[1, '40 epochs']") == 0
    assert trained(tmp_path)[18] == ['40_epochs/alone/seed_0', '40']
    assert len(trained(tmp_path)) == 24


def test_a_report_of_what_is_known(compare, tmp_path):
    """Rows of equal cost and costs stay where a method is added."""
    comparison = 'seeds=[0, 1, 2], equal_cost=True'
    assert compare(comparison) == 0
    folder = tmp_path / 'work_dirs/my'
    before = json.loads((folder / 'comparison.json').read_text())
    assert compare(
        comparison,
        report_only=True,
        cfg_options={'comparison.methods': ['mmhkt.HKT', 'mmhkt.KD']}) == 0
    found = json.loads((folder / 'comparison.json').read_text())
    assert [m['name'] for m in found['methods']
            ] == ['alone', 'hkt', 'hkt-equal-cost', 'kd']
    for old, new in zip(before['methods'], found['methods']):
        assert old['cost'] == new['cost'] and old['last'] == new['last']
    assert found['methods'][3]['cost']['step'] is None


def test_costs_that_are_needed_first(compare, tmp_path, monkeypatch):

    def fail(*_):
        raise costs.CostsError('out of memory')

    monkeypatch.setattr(command, 'measure_costs', fail)
    with pytest.raises(
            ConfigError,
            match='nothing was trained: equal_cost .* out of memory'):
        compare('seeds=[0], equal_cost=True')
    assert not (tmp_path / 'trained').exists()
    assert compare('seeds=[0]') == 0  # only the table goes without


def test_methods_that_were_left_out_are_said(compare, tmp_path):
    comparison = 'seeds=[0, 1, 2]'
    options = {'comparison.methods': ['mmhkt.HKT', 'mmhkt.KD']}
    assert compare(comparison, cfg_options=options) == 0
    page = tmp_path / 'work_dirs/my/comparison.md'
    assert 'left out' not in page.read_text()
    assert compare(
        comparison, cfg_options=options, report_only=True,
        methods=['hkt']) == 0
    assert 'For what was left out (KD) nothing is adjusted' in page.read_text()


def test_one_budget_as_before(compare, tmp_path):
    assert compare('seeds=[0]') == 0
    folder = tmp_path / 'work_dirs/my'
    assert sorted(path.name for path in folder.glob('*.*')) == [
        '.lock', *(f'comparison.{x}'
                   for x in ('csv', 'html', 'json', 'md', 'tex')), 'costs.json'
    ]


def test_runs_that_cannot_be_compared_are_reported(compare, tmp_path, capsys):
    assert compare('seeds=[0, 1, 2]') == 0
    path = tmp_path / 'work_dirs/my/hkt/seed_1/record.json'
    record = json.loads(path.read_text())
    path.write_text(json.dumps(dict(record, initial_weights='other')))
    assert compare('seeds=[0, 1, 2]', report_only=True) == 1
    assert 'began from different weights' in capsys.readouterr().err
    text = (tmp_path / 'work_dirs/my/comparison.md').read_text()
    assert 'So no differences are shown' in text and '| HKT | – |' in text


def test_a_report_is_of_the_settings_that_were_run(compare, tmp_path):
    assert compare('seeds=[0, 1]') == 0
    written = (tmp_path / 'work_dirs/my/comparison.md').read_text()
    with pytest.raises(ConfigError, match='settings.*optimizer.lr'):
        compare(
            'seeds=[0, 1]',
            report_only=True,
            cfg_options={'optim_wrapper.optimizer.lr': 0.5})
    assert (tmp_path / 'work_dirs/my/comparison.md').read_text() == written
    # What is not run yet is of no settings.
    assert compare('seeds=[0, 1, 2]', report_only=True) == 0
