# Copyright (c) mmhkt authors. All rights reserved.
import os
import signal

import pytest
from mmengine.config import Config

from mmhkt.runner.resumable import checkpoints
from mmhkt.runner.train import _told


def write(path, age=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (1e9 - age, 1e9 - age))


def names(folder, **hook):
    cfg = Config(dict(default_hooks=dict(checkpoint=hook)))
    return [path.name for path in checkpoints(folder, cfg)]


def test_the_newest_first_unless_another_is_noted(tmp_path):
    for age, name in enumerate(('iter_9.pth', 'epoch_2.pth', 'best_3.pth')):
        write(tmp_path / name, age)
    assert names(tmp_path) == ['iter_9.pth', 'epoch_2.pth']
    (tmp_path / 'last_checkpoint').write_text('/moved/since/epoch_2.pth\n')
    assert names(tmp_path) == ['epoch_2.pth', 'iter_9.pth']
    assert names(tmp_path / 'none') == []


def test_where_the_checkpoint_hook_writes_them(tmp_path):
    run = tmp_path / 'run'
    write(tmp_path / 'elsewhere/run/model_00012.pth')
    write(tmp_path / 'elsewhere/run/model_of_others.pth')
    write(run / 'epoch_1.pth', age=5)
    assert names(
        run,
        out_dir=str(tmp_path / 'elsewhere'),
        filename_tmpl='model_{:05d}.pth') == [
            'model_00012.pth', 'epoch_1.pth'
        ]


def test_an_interrupted_training_says_where_it_goes_on(tmp_path):
    cfg = Config(
        dict(
            work_dir=str(tmp_path),
            default_hooks=dict(checkpoint=dict(filename_tmpl='m_{}.pth'))))
    for text in ('no checkpoint was written yet', f'in {tmp_path}'):
        with pytest.raises(SystemExit, match=text), _told(cfg):
            signal.raise_signal(signal.SIGTERM)
        write(tmp_path / 'm_3.pth')


def test_a_hang_up_that_is_ignored_stays_ignored(tmp_path):
    """As nohup wants it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _told(Config(dict(work_dir=str(tmp_path)))):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
