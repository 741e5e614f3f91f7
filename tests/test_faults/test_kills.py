# Copyright (c) mmhkt authors. All rights reserved.
"""What a process leaves when it is killed, cut short or told to end.

``make faults`` does in full what the tests do in a short form.
"""
import json
import os
import random
import resource
import shutil
import signal
import time
from contextlib import suppress

import pytest
from fault_helpers import Child, killed_again_and_again
from forking import forking
from helpers import digits_config
from helpers import dump as dump_config
from helpers import read, run, same

from mmhkt.runner.train import train
from mmhkt.utils import lock

# Of each tool.
KILLS = int(os.environ.get('MMHKT_KILLS', 2))
# How many checkpoints are kept.
KEEPS = [1, 3] if KILLS > 2 else [1]
METHODS = ('alone', 'hkt')
OPTIONS = {'train_cfg.max_epochs': 4}


def config(folder, keep=2, **options):
    return digits_config(
        folder, 'mmhkt.HKT', **{
            **OPTIONS, 'default_hooks.checkpoint.max_keep_ckpts': keep,
            **options
        })


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp('whole')
    run(config(folder))
    return folder


def epoch_of(folder):
    """Of the newest checkpoint that can be read."""
    epochs = [
        int(path.stem.split('_')[1]) for path in folder.glob('epoch_*.pth')
        if read(path)
    ]
    return max(epochs, default=0)


@pytest.mark.parametrize('keep', KEEPS)
def test_training(tmp_path, whole, keep):
    """Nothing is lost, and the weights are the same to the bit."""
    folder, reached, killed = tmp_path / 'run', 0, 0

    def go_on():
        train(config(folder, keep, resume=True))

    for was_killed in killed_again_and_again(
            go_on,
            tmp_path / 'log',
            KILLS,
            seed=keep,
            longest=4,
            anew=lambda: shutil.rmtree(folder)):
        assert epoch_of(folder) >= reached
        if was_killed:
            reached, killed = epoch_of(folder), killed + 1
            continue
        reached = 0
        assert len(list(folder.glob('epoch_*.pth'))) <= keep + 1
        assert not list(folder.glob('*.partial'))
        for name in ('epoch_4.pth', 'child.pth'):
            assert same(*(read(path / name)['state_dict']
                          for path in (folder, whole)))
    print(f'{killed} kills of a training that keeps {keep}')


def test_exporting(tmp_path, whole):
    """The file is there whole or not at all."""
    from mmhkt.cli.export import main as export
    out = tmp_path / 'out.pth'

    def go():
        export([str(whole / 'epoch_4.pth'), str(out)])

    killed = 0
    for was_killed in killed_again_and_again(
            go, tmp_path / 'log', KILLS, longest=0.3, anew=out.unlink):
        killed += was_killed
        if out.exists():
            assert same(
                read(out)['state_dict'],
                read(whole / 'child.pth')['state_dict'])
    print(f'{killed} kills of an export')


def test_converting(tmp_path):
    """The manifest is of all volumes or not there; no process is left."""
    pytest.importorskip('nibabel')
    from lits_helpers import pair, voxels

    from mmhkt.cli.prepare_lits import main as convert
    for number in range(4):
        pair(tmp_path / 'in', number, *voxels(number))
    manifests = []
    for out, kills in (('whole', 0), ('cut', KILLS)):
        file = tmp_path / out / 'manifest.json'
        killed = 0
        for was_killed in killed_again_and_again(
                lambda out=out: convert([
                    str(tmp_path / 'in'),
                    str(tmp_path / out), '--workers', '2'
                ]),
                tmp_path / 'log',
                kills,
                longest=0.4,
                anew=lambda out=out: shutil.rmtree(tmp_path / out)):
            killed += was_killed
            if file.exists():
                assert len(json.loads(file.read_text())['volumes']) == 4
        manifests.append(json.loads(file.read_text()))
        print(f'{killed} kills of a conversion')
    assert manifests[0] == manifests[1]
    time.sleep(1.5)
    assert not writing_to(tmp_path)


def writing_to(folder):
    """The processes whose output goes to a file below a folder."""
    found = []
    for process in filter(str.isdigit, os.listdir('/proc')):
        if int(process) != os.getpid():
            try:
                opened = os.readlink(f'/proc/{process}/fd/1')
            except OSError:
                continue
            if opened.startswith(str(folder)):
                found.append(int(process))
    return found


@pytest.mark.slow
@pytest.mark.parametrize('keep', KEEPS)
def test_comparing(tmp_path, keep):
    """Started again, it goes on; each run ends as if nothing had been.

    Killed are the comparison alone, whose training goes on, and both.
    """
    cfg = config('unused', keep)
    cfg.pop('work_dir')
    cfg.pop('method')
    cfg.comparison = dict(methods=['mmhkt.Alone', 'mmhkt.HKT'], seeds=[0])
    file = dump_config(cfg, tmp_path / 'many.py')
    from mmhkt.cli.compare import main as compare

    def go(out):
        with forking():
            raise SystemExit(
                compare([str(file), '--work-dir',
                         str(tmp_path / out)]))

    def runs(out):
        return [tmp_path / out / method / 'seed_0' for method in METHODS]

    log, draw, reached, killed = tmp_path / 'log', random.Random(keep), {}, 0
    assert Child(lambda: go('whole'), log).wait() == 0
    while True:
        child = Child(lambda: go('cut'), log)
        code = child.wait(draw.uniform(0, 12) if killed < KILLS else 600)
        if code is None:
            child.kill()
            child.wait()
            assert killed < KILLS, 'it hangs: ' + log.read_text()[-3000:]
            killed += 1
            if draw.random() < 0.7:
                for process in writing_to(tmp_path / 'cut'):
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                for run_of in runs('cut'):
                    assert epoch_of(run_of) >= reached.get(run_of, 0)
                    reached[run_of] = epoch_of(run_of)
            continue
        assert code == 0, log.read_text()[-3000:]
        for one, other in zip(runs('whole'), runs('cut')):
            assert same(*(read(path / 'child.pth')['state_dict']
                          for path in (one, other)))
        if killed >= KILLS:
            break
        shutil.rmtree(tmp_path / 'cut')
        reached.clear()
    print(f'{killed} kills of a comparison that keeps {keep}')


# -------------------------------------------------------------------- others


def test_no_room_for_a_checkpoint(tmp_path):
    """A file that cannot be written leaves those that are there."""
    folder = tmp_path / 'run'
    run(config(folder, 1, **{'train_cfg.max_epochs': 1}))
    before = (folder / 'epoch_1.pth').read_bytes()

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, ) * 2)
        train(config(folder, 1, resume=True))

    assert Child(full, tmp_path / 'log').wait() == 1
    assert (folder / 'epoch_1.pth').read_bytes() == before
    assert [path.name for path in folder.glob('epoch_*')] == ['epoch_1.pth']


@pytest.fixture
def hang_ups():
    """Heard, even where the tests are run by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures('hang_ups')
@pytest.mark.parametrize('number',
                         [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_is_answered_with_how_it_goes_on(tmp_path, number):
    folder, log = tmp_path / 'run', tmp_path / 'log'
    child = Child(
        lambda: train(config(folder, **{'train_cfg.max_epochs': 1000})), log)
    while not list(folder.glob('epoch_*.pth')):
        assert child.wait(0.05) is None
    child.kill(number)
    assert child.wait() == 1
    assert 'mmhkt: interrupted; with --resume the same' in log.read_text()
    assert 'Traceback' not in log.read_text()
    assert run(
        config(
            folder, resume=True,
            **{'train_cfg.max_epochs':
               epoch_of(folder)})).epoch == epoch_of(folder)


def test_one_training_a_folder(tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    file = lock.acquire(folder)
    with pytest.raises(ValueError, match='another training goes on in'):
        train(config(folder))
    assert not list(folder.glob('*.pth'))
    os.close(file)
    (folder / 'epoch_9.pth.partial').write_text('cut short')
    (folder / 'examples.partial').mkdir()
    train(config(folder, **{'train_cfg.max_epochs': 1}))
    assert not list(folder.glob('*.partial'))
    assert (folder / 'child.pth').exists()
