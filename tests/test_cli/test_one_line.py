# Copyright (c) mmhkt authors. All rights reserved.
import sys

import pytest
from cli_helpers import NOWHERE, module_of
from helpers import CONFIGS, digits_config
from helpers import dump as dump_config
from helpers import tool

from mmhkt.cli import COMMANDS
from mmhkt.cli.one_line import in_one_line, line_of
from mmhkt.utils import one_of, read_checkpoint


def error_of(function, *args):
    try:
        function(*args)
    except Exception as error:
        return error


def test_what_we_raise_is_a_line():
    error = error_of(one_of, 'The thing', 'abd', ['abc'])
    assert line_of(error) == 'The thing "abd" is unknown; nearest: abc'
    assert 'no checkpoint "gone.pth"' in line_of(
        error_of(read_checkpoint, 'gone.pth'))


@pytest.mark.parametrize(
    'path, name',
    [
        ('data/fashion_mnist.npz', 'fashion-mnist'),
        ('data/checkpoints/resnet20-12fca82f.th', 'cifar10-weights'),
        ('data/camvid/train', 'camvid'),
        ('data/checkpoints/resnet56-4bfd9763.th', 'cifar10-weights'),
        # What others call their own.
        ('data/other.npz', None),
        ('data/train_images/1.png', None),
        ('data/camvid_720p/train', None),
        ('mydata/cifar10.npz', None),
    ])
def test_what_makes_a_file_that_is_not_there(path, name, tmp_path,
                                             monkeypatch):
    monkeypatch.chdir(tmp_path)
    for function in (open, read_checkpoint):
        line = line_of(error_of(function, path))
        assert line.count('mmhkt prepare') == (name is not None)
        assert name is None or f'`mmhkt prepare {name}` makes it' in line


def wraps():
    try:
        one_of('The thing', 'a', [])
    except ValueError as error:
        raise RuntimeError('from elsewhere') from error


def test_what_others_raise_is_none():
    """But for what is of the machine, and what wraps an error of ours."""
    assert line_of(error_of(lambda: {}['a'])) is None
    # An operation that fails within our code is a fault of ours.
    assert line_of(error_of(one_of, 'The thing', 'a', None)) is None
    assert line_of(error_of(
        open, '/nowhere/at/all')).startswith('FileNotFoundError: [Errno 2]')
    assert 'The thing "a" is unknown' in line_of(error_of(wraps))


@pytest.mark.parametrize('flag', [False, True])
def test_a_tool_ends_with_the_line(monkeypatch, flag):
    monkeypatch.setattr(sys, 'argv', ['tool'] + ['--traceback'] * flag)
    main = in_one_line(lambda argv: one_of('The thing', 'a', ['b']))
    with pytest.raises(ValueError if flag else SystemExit) as end:
        main()
    text = str(end.value)
    assert sys.argv == ['tool']
    assert text.startswith('mmhkt: The thing') != flag and '\n' not in text


@pytest.mark.parametrize('command', NOWHERE)
def test_all_commands_end_in_the_same_way(command, tmp_path, monkeypatch):
    if command == 'prepare-lits':
        pytest.importorskip('nibabel')
    monkeypatch.chdir(tmp_path)
    main = module_of(command).main
    with pytest.raises(SystemExit) as end:
        main(list(NOWHERE[command]))
    text = str(end.value)
    assert text.startswith('mmhkt: ') and '\n' not in text
    assert 'nowhere' in text or 'no.' in text
    # Not SystemExit, which is what argparse ends with.
    with pytest.raises((ValueError, OSError)):
        main([*NOWHERE[command], '--traceback'])
    assert set(NOWHERE) == {*COMMANDS, 'prepare-lits'}
    assert not list(tmp_path.rglob('out*'))


@pytest.mark.parametrize('options, text', [
    (['method.temprature=3'], 'mmhkt.KD has no setting "temprature"; nearest: '
     'temperature'),
    (['parent.checkpoint=gone.pth', 'parent.random_weights=False'
      ], 'There is no checkpoint "gone.pth"'),
])
def test_a_wrong_setting_is_all_that_training_says(tmp_path, options, text):
    """One line, before the log, the networks and the data."""
    cfg = digits_config(tmp_path / 'run', 'mmhkt.KD')
    cfg.train_dataloader.dataset.data_root = '/nowhere'
    config = dump_config(cfg, tmp_path / 'wrong.py')
    done = tool(
        'train.py',
        config,
        '--cfg-options',
        *options,
        cwd=tmp_path,
        check=False)
    assert done.returncode == 1
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith('mmhkt: '), lines
    assert text in lines[0]
    assert not (tmp_path / 'run').exists()
    assert CONFIGS.exists()
