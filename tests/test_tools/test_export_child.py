# Copyright (c) mmhkt authors. All rights reserved.

import pytest
import torch
from helpers import CONFIGS, digits_config, dump, read, run, same
from mmengine.config import Config
from mmpretrain import get_model

from mmhkt.cli import export as command
from mmhkt.models.export import PLAIN_KEYS
from mmhkt.models.export_checkpoint import config_in

ALONE = CONFIGS / 'alone/resnet8-narrow_digits.py'


@pytest.fixture(autouse=True)
def talk(monkeypatch):
    # It is for processes that end with the tool.
    monkeypatch.setattr('mmhkt.utils.config.quieten', lambda: None)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A checkpoint of a run with all that only training needs, and EMA."""
    folder = tmp_path_factory.mktemp('run')
    run(
        digits_config(
            folder,
            custom_hooks=[dict(type='EMAHook', momentum=0.5)],
            **{'train_cfg.max_epochs': 1}))
    return folder / 'epoch_1.pth'


@pytest.fixture
def plain(tmp_path):
    """Writes a checkpoint of the narrow network, with a config's text."""

    def write(text=None, name='plain.pth', **more):
        weights = get_model(str(ALONE)).state_dict()
        meta = {} if text is None else dict(meta=dict(cfg=text))
        torch.save(dict(state_dict=weights, **meta, **more), tmp_path / name)
        return tmp_path / name

    return write


def refused(capsys, *args):
    """The one line of an error."""
    with pytest.raises(SystemExit) as error:
        command.main([str(arg) for arg in args])
    assert '\n' not in str(error.value)
    assert str(error.value).startswith('mmhkt: ')
    return str(error.value)


def test_training_checkpoint(trained, tmp_path, capsys):
    out = tmp_path / 'deploy' / 'child.pth'
    command.main([str(trained), str(out)])
    assert capsys.readouterr().out.endswith(
        f'{trained} ({trained.stat().st_size:,} bytes) -> {out} '
        f'({out.stat().st_size:,} bytes), 5,006 parameters\n')
    before, after = read(trained), torch.load(out, weights_only=True)
    assert {'transfer', 'optimizer', 'ema_state_dict'} <= set(before)
    assert sorted(after) == ['meta', 'state_dict']
    # The averaged weights: what mmengine saves as the state_dict.
    assert same(after['state_dict'], before['state_dict'])
    assert after['meta']['epoch'] == 1
    assert after['meta']['dataset_meta'] == before['meta']['dataset_meta']

    # What was written is complete: it builds the child by itself.
    for config in (str(out.with_suffix('.py')),
                   Config.fromstring(after['meta']['cfg'], '.py')):
        child = get_model(config, pretrained=str(out))
        assert same(child.state_dict(), before['state_dict'])
    keys = set(Config.fromfile(out.with_suffix('.py')))
    assert 'model' in keys and keys <= set(PLAIN_KEYS)

    assert out.stat().st_size < trained.stat().st_size / 2


def test_again_and_with_a_config(trained, plain, tmp_path):
    once, twice = tmp_path / 'once.pth', tmp_path / 'twice.pth'
    command.main([str(trained), str(once)])
    command.main([str(once), str(twice)])
    assert same(read(once)['state_dict'], read(twice)['state_dict'])
    assert once.with_suffix('.py').read_text() == twice.with_suffix(
        '.py').read_text()

    # No text in the file, and keys of a DataParallel.
    weights = read(once)['state_dict']
    torch.save({
        f'module.{k}': v
        for k, v in weights.items()
    }, tmp_path / 'bare.pth')
    out = tmp_path / 'out.pth'
    command.main(
        [str(tmp_path / 'bare.pth'),
         str(out), '--config',
         str(ALONE)])
    assert same(read(out)['state_dict'], weights)


def test_nothing_is_written_that_does_not_fit(plain, tmp_path, capsys):
    out = tmp_path / 'out.pth'
    other = CONFIGS / 'alone/resnet20_digits.py'
    line = refused(capsys, plain(), out, '--config', other)
    assert 'does not fit the network' in line and 'missing' in line
    line = refused(capsys, plain(), out)
    assert 'holds no config; give it by --config' in line
    line = refused(capsys, plain("model = dict(type='Unheard')"), out)
    assert 'Unheard' in line
    assert 'has no model' in refused(capsys, plain('a = 1'), out)
    assert 'there is no config' in refused(capsys, plain(), out, '--config',
                                           tmp_path / 'no.py')
    assert 'no checkpoint' in refused(capsys, tmp_path / 'no.pth', out)
    assert not out.exists() and not out.with_suffix('.py').exists()


def test_nothing_is_overwritten(plain, tmp_path, capsys):
    source = plain()
    config = dump(Config.fromfile(ALONE), tmp_path / 'out.py')
    for target in (source, tmp_path / 'out.pth'):
        assert 'would be overwritten' in refused(capsys, source, target,
                                                 '--config', config)
    for target in (tmp_path, tmp_path / 'child', tmp_path / 'child.py'):
        assert 'no name for a checkpoint' in refused(capsys, source, target)


@pytest.mark.parametrize('text', [
    'import os\nos.mkdir({!r})', 'a = __import__("os").mkdir({!r})',
    'a = [exec("import os; os.mkdir({!r})")]', 'a = dict(**open({!r}, "w"))',
    'custom_imports = dict(imports=["antigravity"])\nb = {!r}'
])
def test_config_in_the_file_is_not_run(plain, tmp_path, capsys, text):
    target = tmp_path / 'harm'
    source = plain(text.format(str(target)))
    line = refused(capsys, source, tmp_path / 'out.pth')
    assert '--trusted if you trust its author' in line
    assert not target.exists()


def test_trusted(plain, tmp_path):
    source = plain(f'_base_ = {str(ALONE)!r}')
    command.main([str(source), str(tmp_path / 'out.pth'), '--trusted'])
    assert (tmp_path / 'out.pth').exists()


def test_reads_what_mmengine_writes():
    cfg = Config(
        dict(
            a=[1, -2.5, (1, ), ()],
            b=dict(c=None, d={'0.x': True}),
            e='it\'s "so"\n',
            f={},
            g=1e-8))
    read_back = config_in(dict(cfg=cfg.pretty_text), 'x', False)
    assert read_back.to_dict() == cfg.to_dict()
    cfg = Config.fromfile(CONFIGS / 'hkt/hkt_swin-tiny_resnet18_8xb32_in1k.py')
    read_back = config_in(dict(cfg=cfg.pretty_text), 'x', False)
    assert read_back.to_dict() == cfg.to_dict()


def test_help_says_what_becomes_of_ema(capsys):
    with pytest.raises(SystemExit):
        command.parse_args(['--help'])
    assert 'averaged weights' in capsys.readouterr().out
