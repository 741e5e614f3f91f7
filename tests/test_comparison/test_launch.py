# Copyright (c) mmhkt authors. All rights reserved.
"""Launching, with a script in the place of a training."""
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mmengine.config import Config

from mmhkt.comparison import launch
from mmhkt.comparison.entries import Entry
from mmhkt.comparison.launch import Launcher, environment_of_run
from mmhkt.comparison.plan import Run
from mmhkt.comparison.records import error_of, state_of
from mmhkt.utils import lock

TRAIN = """
import json, os, sys, time
config, _, folder, resume = sys.argv[1:]
assert resume == '--resume'
name = os.path.relpath(folder, {root!r})
def note(what):
    with open({root!r} + '/events', 'a') as file:
        file.write(f'{{what}} {{name}}\\n')
note('begin')
print('gpu', os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True)
while os.path.exists(folder + '/hold'):
    time.sleep(0.05)
if os.path.exists(folder + '/fail'):
    os.remove(folder + '/fail')
    sys.exit('ValueError: no such thing')
time.sleep(0.3)
note('end')
json.dump(dict(finished=True), open(folder + '/record.json', 'w'))
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(launch, 'TICK', 0.05)


@pytest.fixture
def runs(tmp_path):
    made = []
    for name, seed in (('a', 0), ('b', 0), ('a', 1), ('b', 1)):
        run = Run(
            Entry(name, name, Config()), seed, tmp_path / name / f's{seed}')
        run.folder.mkdir(parents=True)
        made.append(run)
    return made


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    script = tmp_path / 'train.py'
    script.write_text(TRAIN.format(root=str(tmp_path)))
    monkeypatch.setattr(launch, 'TRAIN', [sys.executable, script])

    def make(*args, **kwargs):
        made = Launcher(*args, **kwargs)
        made.lines = []
        made.tell = made.lines.append
        return made

    return make


def events(tmp_path):
    path = tmp_path / 'events'
    return path.read_text().splitlines() if path.exists() else []


def wait_for(condition):
    end = time.time() + 30
    while not condition():
        assert time.time() < end
        time.sleep(0.02)


def test_one_after_the_other_and_not_again(tmp_path, runs, launcher):
    launcher().launch(runs)
    names = ['a/s0', 'b/s0', 'a/s1', 'b/s1']
    assert events(tmp_path) == [
        f'{what} {name}' for name in names for what in ('begin', 'end')
    ]
    again = launcher()
    again.launch(runs)
    assert again.lines == [] and len(events(tmp_path)) == 8


def test_several_at_once(tmp_path, runs, launcher):
    launcher(jobs=3).launch(runs)
    assert sorted(
        events(tmp_path)[:3]) == ['begin a/s0', 'begin a/s1', 'begin b/s0']


def test_gpus_take_turns(runs, launcher):
    launcher(jobs=4, gpus=['0', '2']).launch(runs)
    seen = [(run.folder / 'log.txt').read_text() for run in runs]
    assert seen == ['gpu 0\n', 'gpu 2\n', 'gpu 0\n', 'gpu 2\n']


def test_failure_is_told_and_the_others_go_on(runs, launcher, monkeypatch):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    bad = runs[1]
    (bad.folder / 'fail').touch()
    first = launcher()
    first.launch(runs)
    assert first.failed == [bad]
    assert [state_of(run.folder)
            for run in runs] == ['finished', 'failed', 'finished', 'finished']
    assert error_of(bad.folder) == 'exit code 1: ValueError: no such thing'
    told, = (line for line in first.lines if 'FAILED' in line)
    assert told.splitlines() == [
        f'b, seed 0: FAILED, exit code 1; the end of {bad.folder}/log.txt:',
        '    gpu None', '    ValueError: no such thing'
    ]

    second = launcher()
    second.launch(runs)
    assert second.lines == ['b, seed 0: started', 'b, seed 0: finished']
    assert state_of(bad.folder) == 'finished'
    assert error_of(bad.folder) is None
    # The log goes on; what is told of a failure is of the last start alone.
    assert (bad.folder / 'log.txt').read_text().count('gpu') == 2


def test_killed_process_is_a_failure(runs, launcher):
    held = runs[0]
    (held.folder / 'hold').touch()
    made = launcher(jobs=4)

    def watch():
        process = made.active.get(held.name)
        if process and 'gpu' in process.log.read_text():
            process.popen.kill()

    made.watch = watch
    made.launch(runs)
    assert made.failed == [held]
    assert error_of(held.folder).startswith('killed by SIGKILL')


def test_orphan_is_waited_for(tmp_path, runs, launcher):
    """Of two that a killed comparison left, one ends and one is cut off."""
    made, orphans = launcher(jobs=1), []
    for run in runs[:2]:
        (run.folder / 'hold').touch()
        file = lock.acquire(run.folder)
        command = [
            *launch.TRAIN, 'config', '--work-dir', run.folder, '--resume'
        ]
        orphans.append(
            subprocess.Popen(
                command, pass_fds=[file], stdout=subprocess.DEVNULL))
        os.close(file)
    wait_for(lambda: len(events(tmp_path)) == 2)
    assert [state_of(run.folder)
            for run in runs] == ['running'] * 2 + ['waiting'] * 2

    ticks = itertools.count()

    def watch():
        if next(ticks) == 3:
            # They count as jobs: nothing else has begun.
            assert len(events(tmp_path)) == 2
            for run in runs[:2]:
                (run.folder / 'hold').unlink()
            orphans[1].kill()
        for orphan in orphans:
            orphan.poll()

    made.watch = watch
    made.launch(runs)
    assert made.failed == []
    assert made.lines[:2] == [
        f'{run.name}: still running, from an earlier start' for run in runs[:2]
    ]
    assert events(tmp_path).count('begin a/s0') == 1
    assert events(tmp_path).count('begin b/s0') == 2
    assert {state_of(run.folder) for run in runs} == {'finished'}


def test_interrupted(runs, launcher):
    """What was started is ended, with all that it has started itself."""
    (runs[0].folder / 'hold').touch()
    made = launcher(jobs=2)
    pids = []

    def watch():
        process = made.active[runs[0].name]
        if 'gpu' in process.log.read_text():
            pids.append(process.popen.pid)
            raise KeyboardInterrupt

    made.watch = watch
    with pytest.raises(KeyboardInterrupt):
        made.launch(runs)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert state_of(runs[0].folder) == 'waiting'
    (runs[0].folder / 'hold').unlink()
    launcher().launch(runs)
    assert {state_of(run.folder) for run in runs} == {'finished'}


def test_a_second_signal_leaves_nothing_behind(runs, launcher, monkeypatch):
    """It does not keep what is being ended from being ended."""
    monkeypatch.setattr(launch, 'PATIENCE', 1)
    stubborn = Path(launch.TRAIN[1])
    stubborn.write_text('import signal\nsignal.signal(signal.SIGTERM, '
                        'signal.SIG_IGN)\n' + stubborn.read_text())
    (runs[0].folder / 'hold').touch()
    made = launcher()
    pids = []

    def watch():
        process = made.active.get(runs[0].name)
        if process and 'gpu' in process.log.read_text():
            pids.append(process.popen.pid)
            timer.start()
            raise KeyboardInterrupt

    made.watch = watch
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        made.launch(runs[:1])
    assert not timer.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_lock_is_held_by_whatever_the_process_has_started(tmp_path):
    """As the workers of a dataloader are forked."""
    file = lock.acquire(tmp_path)
    parent = subprocess.Popen([
        sys.executable, '-c', 'import os, time\n'
        'pid = os.fork()\n'
        'if pid: print(pid, flush=True)\n'
        'time.sleep(60)'
    ],
                              pass_fds=[file],
                              stdout=subprocess.PIPE,
                              text=True)
    os.close(file)
    worker = int(parent.stdout.readline())
    assert lock.is_locked(tmp_path) and lock.acquire(tmp_path) is None
    parent.kill()
    parent.wait()
    assert lock.is_locked(tmp_path)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not lock.is_locked(tmp_path))
    again = lock.acquire(tmp_path)
    assert again is not None
    os.close(again)


def test_looking_writes_nothing(tmp_path):
    assert state_of(tmp_path / 'absent') == 'waiting'
    assert not lock.is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_threads(monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setenv('MKL_NUM_THREADS', '7')
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(8)))
    several = environment_of_run(jobs=3)
    assert several['OMP_NUM_THREADS'] == '2'
    assert several['MKL_NUM_THREADS'] == '7'
    assert environment_of_run(jobs=20)['OMP_NUM_THREADS'] == '1'
    assert 'OMP_NUM_THREADS' not in environment_of_run(jobs=1)
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    assert 'OMP_NUM_THREADS' not in environment_of_run(jobs=3)
    assert environment_of_run(jobs=3, gpu='5')['CUDA_VISIBLE_DEVICES'] == '5'
