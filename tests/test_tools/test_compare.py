# Copyright (c) mmhkt authors. All rights reserved.
"""``tools/compare.py`` with real, very short runs."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
from forking import Popen
from helpers import CONFIGS, REPO, tool

from mmhkt.comparison import costs
from mmhkt.comparison.plan import make_plan
from mmhkt.utils import lock

CONFIG = """
_base_ = '{configs}/hkt/hkt_resnet20_resnet8-narrow_digits.py'
parent = dict(_delete_=True, config='{configs}/alone/resnet20_digits.py',
              random_weights=True)
train_cfg = dict(max_epochs=3)
train_dataloader = dict(dataset=dict(indices=256))
val_dataloader = dict(dataset=dict(indices=64))
# Slept through by nothing else than what the tests kill.
custom_imports = dict(imports=['dawdle'])
custom_hooks = [dict(type='Dawdle')]
comparison = dict(methods=['mmhkt.Alone', 'mmhkt.HKT'], seeds=[0, 1])
"""
# In the second epoch of HKT, seed 0, it waits while there is a file "hold".
DAWDLE = """
import os, time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Dawdle(Hook):
    def after_train_iter(self, runner, *args, **kwargs):
        if 'hkt/seed_0' not in runner.work_dir or runner.iter != 5:
            return
        with open('middle', 'a') as file:
            file.write(f'{os.getpid()}\\n')
        while os.path.exists('hold'):
            time.sleep(0.1)
"""


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp('modules')
    (folder / 'dawdle.py').write_text(DAWDLE)
    with pytest.MonkeyPatch.context() as patch:
        # Of what is forked too.
        patch.setattr(costs, 'ROUNDS', 2)
        yield finds({**os.environ, 'OMP_NUM_THREADS': '1'}, folder)


def finds(environment, folder):
    """An environment in which the modules in a folder are found."""
    path = os.pathsep.join(
        filter(None, [str(folder), environment.get('PYTHONPATH')]))
    return {**environment, 'PYTHONPATH': path}


def compare(folder, environment, *args, **kwargs):
    (folder / 'my.py').write_text(CONFIG.format(configs=CONFIGS))
    return tool(
        'compare.py', 'my.py', *args, cwd=folder, env=environment, **kwargs)


def start(folder, environment, *args):
    (folder / 'my.py').write_text(CONFIG.format(configs=CONFIGS))
    return Popen([sys.executable, REPO / 'tools/compare.py', 'my.py', *args],
                 cwd=folder,
                 env=environment,
                 stdout=subprocess.PIPE,
                 stderr=subprocess.STDOUT,
                 text=True)


def summary(folder):
    return json.loads((folder / 'work_dirs/my/comparison.json').read_text())


def scores(summary, seed):
    """What makes up the accuracy table, and how it came about."""
    return {
        (method['name'], run['seed']):
        [run[key] for key in run if key not in ('peak_memory', 'seconds')]
        for method in summary['methods']
        for run in method['runs'] if run['seed'] == seed
    }


@pytest.fixture(scope='module')
def whole(tmp_path_factory, environment):
    """A comparison that nothing has disturbed."""
    folder = tmp_path_factory.mktemp('whole')
    done = compare(folder, environment, '--jobs', 2)
    return folder, done


@pytest.mark.slow
def test_whole(whole):
    folder, done = whole
    assert done.stdout.splitlines()[:3] == [
        'judged by accuracy/top1 (higher is better)', 'alone, seed 0: started',
        'hkt, seed 0: started'
    ]
    assert 'Traceback' not in done.stderr
    found = summary(folder)
    assert (found['metric'], found['unit'], found['reference']) == (dict(
        name='accuracy/top1', higher_is_better=True), 'epoch', 'alone')
    assert found['deployed'] == dict(parameters=5006, flops=55520)
    assert found['environment']['threads'] == 1
    assert found['command'] == 'mmhkt compare my.py --jobs 2'
    alone, hkt = found['methods']
    for one, other in zip(alone['runs'], hkt['runs']):
        assert one['initial_weights'] == other['initial_weights']
        assert list(one['batches']) == ['4', '8', '12']
        assert one['batches'] == other['batches']
        assert [step for step, _ in one['curve']] == [1, 2, 3]
        assert one['last'] == one['curve'][-1][1]
        assert [one['best_at'], one['best']] in one['curve']
    assert alone['runs'][0]['batches'] != alone['runs'][1]['batches']
    assert hkt['cost']['extra_parameters'] == 0
    assert hkt['cost']['relative_step'] > 1
    assert alone['cost']['relative_step'] == 1
    assert hkt['cost']['relative_memory'] > 0
    for name in ('md', 'html', 'csv'):
        assert (folder / f'work_dirs/my/comparison.{name}').exists()


@pytest.mark.slow
def test_second_start_runs_nothing(whole, environment):
    folder, _ = whole
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (folder / 'work_dirs').rglob('*') if path.is_file()
    }
    done = compare(folder, environment, '--jobs', 2)
    assert 'started' not in done.stdout
    for path, (content, changed) in before.items():
        assert path.read_bytes() == content, path
        if 'comparison' not in path.name:
            assert path.stat().st_mtime_ns == changed, path

    done = compare(folder, environment, '--dry-run', '--seeds', 1, 2)
    assert done.stdout.count('finished') == 2
    assert done.stdout.count('waiting') == 2
    assert not (folder / 'work_dirs/my/alone/seed_2').exists()


@pytest.mark.slow
def test_kept_records_are_enough_to_go_on_with(whole, environment, tmp_path):
    folder = tmp_path / 'work_dirs/my'
    done = tool('maintenance/keep_records.py', whole[0] / 'work_dirs/my',
                folder)
    assert len(done.stdout.splitlines()) == 4 * 3 + 4
    assert not list(folder.rglob('*.pth'))
    # Of what had not come to its end nothing is kept.
    record = folder / 'hkt/seed_1/record.json'
    record.write_text(
        json.dumps({
            **json.loads(record.read_text()), 'finished': False
        }))
    again = tmp_path / 'again'
    tool('maintenance/keep_records.py', folder, again / 'work_dirs/my')
    done = compare(again, environment, '--jobs', 2)
    started = [s for s in done.stdout.splitlines() if s.endswith('started')]
    assert started == ['hkt, seed 1: started']
    for seed in (0, 1):
        assert scores(summary(again), seed) == scores(summary(whole[0]), seed)


@pytest.mark.slow
def test_unfair_comparison_gets_no_differences(whole, environment, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    folder = tmp_path / 'work_dirs/my'
    for path in folder.glob('comparison.*'):
        path.unlink()
    path = folder / 'hkt/seed_1/record.json'
    record = json.loads(path.read_text())
    record['batches']['8'] = 'of another order'
    path.write_text(json.dumps(record))
    done = compare(
        tmp_path, environment, '--report-only', check=False, fork=False)
    assert done.returncode == 1
    assert ('alone, seed 1 and hkt, seed 1 saw different batches'
            in done.stderr)
    assert 'seed 0' not in done.stderr and 'Traceback' not in done.stderr
    found = summary(tmp_path)
    assert found['reference'] is None
    assert [m['difference'] for m in found['methods']] == [None, None]
    assert 'saw different batches' in (folder / 'comparison.md').read_text()


def middle(folder, times, process):
    """Wait until a training is in the middle; returns its process.

    Args:
        folder (Path): Where the comparison runs.
        times (int): How often a training has been there by then.
        process (Popen): The comparison, which does not end before.
    """
    path, end = folder / 'middle', time.time() + 600
    while not path.exists() or len(path.read_text().splitlines()) < times:
        assert process.poll() is None, process.communicate()[0]
        assert time.time() < end
        time.sleep(0.1)
    return int(path.read_text().splitlines()[-1])


@pytest.mark.slow
def test_killed_in_every_way_ends_as_if_nothing_had_been(
        whole, environment, tmp_path):
    only = ('--seeds', '0')
    hold = tmp_path / 'hold'
    hold.touch()
    run = tmp_path / 'work_dirs/my/hkt/seed_0'

    # Told to end: it takes the training with it, and reports what there is.
    process = start(tmp_path, environment, *only)
    middle(tmp_path, 1, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 128 + signal.SIGTERM
    assert not lock.is_locked(run)
    states = [m['runs'][0]['state'] for m in summary(tmp_path)['methods']]
    assert states == ['finished', 'waiting']

    # Killed: the training goes on without it, and is waited for.
    process = start(tmp_path, environment, *only)
    middle(tmp_path, 2, process)
    process.kill()
    process.wait()
    process.stdout.close()
    assert lock.is_locked(run)
    process = start(tmp_path, environment, *only)
    assert process.stdout.readline().startswith('judged by')
    line = process.stdout.readline()
    assert line == 'hkt, seed 0: still running, from an earlier start\n'

    # A third one in the same folder is refused.
    second = compare(tmp_path, environment, *only, check=False)
    assert second.returncode == 1
    assert 'another comparison is running in' in second.stderr

    # The training is killed too; the comparison resumes it.
    os.kill(middle(tmp_path, 2, process), signal.SIGKILL)
    training = middle(tmp_path, 3, process)

    # And that one is killed while its comparison lives: a failure.
    os.kill(training, signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert 'hkt, seed 0: FAILED, killed by SIGKILL' in output
    hkt = summary(tmp_path)['methods'][1]['runs'][0]
    assert hkt['state'] == 'failed' and hkt['last'] is None
    assert hkt['error'].startswith('killed by SIGKILL')

    hold.unlink()
    compare(tmp_path, environment, *only)
    assert scores(summary(tmp_path), 0) == scores(summary(whole[0]), 0)


@pytest.mark.slow
def test_as_jobs_of_which_one_is_killed(tmp_path, environment, whole):
    """By submitit's local executor; started again, the same table."""
    # Not by importing it, which closes log files.
    if find_spec('submitit') is None:
        pytest.skip('submitit is not installed')
    jobs = '--jobs', '2', '--slurm', 'cluster=local', 'timeout_min=60'
    (tmp_path / 'hold').touch()
    process = start(tmp_path, environment, *jobs)
    os.kill(middle(tmp_path, 1, process), signal.SIGKILL)
    (tmp_path / 'hold').unlink()
    text = process.communicate(timeout=600)[0]
    assert process.returncode == 1, text
    assert 'hkt, seed 0: FAILED, ended without a result, state FINI' in text
    run = tmp_path / 'work_dirs/my/hkt/seed_0'
    assert (run / 'failed.txt').exists()
    assert (run / 'epoch_1.pth').exists()
    others = [m['runs'] for m in summary(tmp_path)['methods']]
    assert [r['state'] for runs in others
            for r in runs] == ['finished', 'finished', 'failed', 'finished']

    done = compare(tmp_path, environment, *jobs)
    told = [line for line in done.stdout.splitlines() if ', seed ' in line]
    assert told[0].startswith('hkt, seed 0: job ')
    assert told[1:2] == ['hkt, seed 0: finished']
    for seed in (0, 1):
        assert scores(summary(tmp_path),
                      seed) == scores(summary(whole[0]), seed)
    assert summary(tmp_path)['methods'][1]['cost']['relative_step'] > 1


FAULTY = """
import os
from mmhkt.methods import HKT
from mmhkt.registry import METHODS

@METHODS.register_module()
class Faulty(HKT):
    calls = 0

    def forward(self, step):
        Faulty.calls += 1
        if os.environ.get('FAULT') and Faulty.calls == 3:
            raise OverflowError('too much')
        return super().forward(step)
"""


@pytest.mark.slow
def test_a_method_that_fails_and_a_parent_that_is_trained(
        environment, tmp_path):
    (tmp_path / 'faulty.py').write_text(FAULTY)
    environment = finds(environment, tmp_path)
    small = ('train_cfg = dict(max_epochs=1)\n'
             'train_dataloader = dict(dataset=dict(indices=256))\n'
             'val_dataloader = dict(dataset=dict(indices=64))\n')
    (tmp_path / 'big.py'
     ).write_text(f"_base_ = '{CONFIGS}/alone/resnet20_digits.py'\n{small}")
    (tmp_path / 'my.py').write_text(
        f"_base_ = '{CONFIGS}/hkt/hkt_resnet20_resnet8-narrow_digits.py'\n"
        f"{small}parent = dict(config='big.py')\n"
        "custom_imports = dict(imports=['faulty'])\n"
        "comparison = dict(methods=['mmhkt.Faulty', 'mmhkt.Alone'], "
        'train_parent=True)\n')

    def go(check=True, **more):
        return tool(
            'compare.py',
            'my.py',
            cwd=tmp_path,
            env={
                **environment,
                **more
            },
            check=check)

    done = go(FAULT='1', check=False)
    assert done.returncode == 1
    assert ('faulty, seed 0: FAILED, exit code 1; the end of '
            'work_dirs/my/faulty/seed_0/log.txt:' in done.stdout)
    assert 'OverflowError: too much' in done.stdout
    assert 'alone, seed 0: finished' in done.stdout
    # What it costs cannot be measured either.
    assert 'without costs: OverflowError: too much' in done.stderr
    found = summary(tmp_path)
    faulty, alone = (method['runs'][0] for method in found['methods'])
    assert faulty['state'] == 'failed' and faulty['last'] is None
    assert faulty['error'] == 'exit code 1: OverflowError: too much'
    assert alone['state'] == 'finished' and alone['last'] is not None
    assert found['methods'][1]['cost']['step'] is None

    done = go()
    assert done.stdout.splitlines()[1:3] == [
        'faulty, seed 0: started', 'faulty, seed 0: finished'
    ]
    found = summary(tmp_path)
    assert found['parent']['name'] == 'big'
    assert 0 < found['parent']['score'] <= 100
    assert found['methods'][0]['runs'][0]['state'] == 'finished'
    assert found['methods'][0]['cost']['step'] > 0


@pytest.mark.slow
def test_mistakes_are_told_in_one_line(environment, tmp_path):
    for args, message in [
        (('--seeds', 0, 0), 'not all different'),
        (('--methods', 'htk'), '"htk" is unknown; nearest: hkt'),
        (('--report-only', ), 'no run is finished yet'),
    ]:
        done = compare(tmp_path, environment, *args, check=False)
        assert done.returncode == 1
        assert message in done.stderr and done.stderr.count('\n') == 1
    assert not (tmp_path / 'work_dirs').exists()


@pytest.mark.parametrize(
    'path', [
        *sorted(CONFIGS.glob('compare/*.py')),
        *sorted(CONFIGS.glob('studies/*.py'))
    ],
    ids=lambda p: p.stem)
def test_our_comparisons(path):
    assert len(make_plan([str(path)]).entries) > 1
