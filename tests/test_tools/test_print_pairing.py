# Copyright (c) mmhkt authors. All rights reserved.
import uuid

import pytest
from helpers import CONFIGS, digits_config, dump
from helpers import tool as run_tool
from mmengine.logging import MMLogger

from mmhkt.cli import pair as command
from mmhkt.runner import pairing

DIGITS = CONFIGS / 'hkt/hkt_resnet20_resnet8-narrow_digits.py'
CIFAR = CONFIGS / 'hkt/hkt_resnet56_resnet20_200e_cifar10.py'


@pytest.fixture
def printed(monkeypatch, tmp_path, capsys):
    """What the tool prints, run where there is no data."""
    monkeypatch.chdir(tmp_path)
    # It is for processes that end with the tool.
    monkeypatch.setattr('mmhkt.utils.config.quieten', lambda: None)

    def load_config(*args):
        cfg = original(*args)
        # mmengine's managers keep one state a name, also between runs.
        cfg.experiment_name = uuid.uuid4().hex
        return cfg

    original = pairing.load_config
    monkeypatch.setattr(pairing, 'load_config', load_config)

    def text(*args):
        capsys.readouterr()
        command.main([str(arg) for arg in args])
        assert list(tmp_path.glob('work_dirs')) == []
        return capsys.readouterr().out

    yield text
    # mmengine's current logger wrote to a folder that is gone.
    MMLogger._instance_dict.clear()


def test_as_training_begins(printed, tmp_path):
    config = dump(digits_config(tmp_path / 'unused'), tmp_path / 'run.py')
    text = printed(config)
    assert 'invert regression 64 to 16' in text
    assert 'learned in training only: 0 parameters' in text
    assert not (tmp_path / 'unused').exists()


@pytest.mark.parametrize('shape', [(), ('--shape', 12, 8)])
def test_before_there_is_a_checkpoint(printed, shape):
    text = printed(DIGITS, '--random-parent', *shape)
    assert 'invert regression 64 to 16' in text


def test_before_there_is_data(printed):
    text = printed(CIFAR, '--random-parent', '--shape', 32, 32,
                   '--cfg-options', 'method.sites=stages',
                   'method.attention.mode=learnable')
    # The widest rows are whole.
    for stage in ('backbone.layer1', 'backbone.layer2', 'backbone.layer3'):
        assert text.count(stage) >= 2
    for shape in ('16x32x32', '32x16x16', '64x8x8'):
        assert text.count(shape) == 2
    assert '…' not in text


def test_says_what_is_wrong_in_one_line(printed, monkeypatch):
    shape = '--shape', 8, 8
    cases = {
        'There is no checkpoint "work_dirs/resnet20_digits/child.pth"':
        (DIGITS, *shape),
        'has no setting "site"; nearest: sites':
        (DIGITS, *shape, '--random-parent', '--cfg-options', 'method.site=1'),
        '--random-parent: the config has no parent':
        (CONFIGS / 'alone/resnet20_digits.py', *shape, '--random-parent'),
        'is none of ours':
        ('mmpretrain::resnet/resnet18_8xb16_cifar10.py', *shape),
        'there is no config': ('no.py', ),
    }
    for message, args in cases.items():
        with pytest.raises(SystemExit) as error:
            printed(*args)
        assert str(error.value).startswith('mmhkt: ')
        assert message in str(error.value)

    def no_data(runner):
        raise FileNotFoundError('data/cifar10')

    from mmhkt.runner import InheritanceRunner
    monkeypatch.setattr(InheritanceRunner, 'train_loop', property(no_data))
    with pytest.raises(SystemExit, match=r'data/cifar10\); with --shape H W'):
        printed(CIFAR, '--random-parent')


def test_shape_is_a_size(capsys):
    with pytest.raises(SystemExit):
        command.parse_args(['a.py', '--shape', '0', '8'])
    assert '--shape: must be a whole number' in capsys.readouterr().err


@pytest.mark.slow
def test_as_a_command(tmp_path):
    done = run_tool(
        'print_pairing.py',
        CIFAR,
        '--shape',
        '32',
        '32',
        '--random-parent',
        cwd=tmp_path)
    assert 'Pairing' in done.stdout and done.stderr == ''
