# Copyright (c) mmhkt authors. All rights reserved.
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import digits_config, run
from mmengine.config import Config

from mmhkt.cli import test, train
from mmhkt.methods import KD
from mmhkt.registry import METHODS
from mmhkt.utils import config as utils
from mmhkt.utils.config import (ConfigError, build_runner, is_ours,
                                load_config, merge_test_args, merge_train_args,
                                set_amp, set_dataloader_defaults)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def train_args(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    return lambda *flags: train.parse_args(['dir/child.py', *flags])


@pytest.fixture
def test_args(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    return lambda *flags: test.parse_args(
        ['dir/child.py', 'child.pth', *flags])


@pytest.fixture
def device(monkeypatch):
    return lambda name: monkeypatch.setattr(utils, 'get_device', lambda: name)


def config(**more):
    pack = dict(type='PackInputs')
    loader = dict(num_workers=2, dataset=dict(pipeline=[dict(type='A'), pack]))
    return Config(
        dict(
            model=dict(type='Child'),
            train_cfg=dict(max_epochs=1),
            val_cfg=dict(),
            test_cfg=dict(),
            train_dataloader=dict(loader),
            val_dataloader=dict(loader),
            test_dataloader=dict(loader),
            val_evaluator=dict(),
            test_evaluator=dict(),
            optim_wrapper=dict(type='OptimWrapper'),
            default_scope='mmpretrain',
            default_hooks=dict(visualization=dict(type='VisualizationHook')),
            **more))


# ------------------------------------------------------------ command line


def test_train_flags_are_mmpretrains(train_args):
    args = train_args('--work-dir', 'w', '--resume', '--amp', '--no-validate',
                      '--auto-scale-lr', '--no-pin-memory',
                      '--no-persistent-workers', '--cfg-options', 'a.b=1',
                      'c=[1,2]', '--launcher', 'slurm', '--local-rank', '3')
    assert vars(args) == dict(
        config='dir/child.py',
        work_dir='w',
        resume='auto',
        amp=True,
        no_validate=True,
        auto_scale_lr=True,
        no_pin_memory=True,
        no_persistent_workers=True,
        cfg_options={
            'a.b': 1,
            'c': [1, 2]
        },
        launcher='slurm',
        local_rank=3)
    assert train_args().resume is None
    assert train_args('--resume', 'a.pth', '--local_rank', '1').local_rank == 1


def test_test_flags_are_mmpretrains(test_args, capsys):
    args = test_args('--work-dir', 'w', '--out', 'o.pkl', '--out-item', 'pred',
                     '--amp', '--show-dir', 'd', '--show', '--interval', '5',
                     '--wait-time', '.5', '--no-pin-memory', '--tta',
                     '--cfg-options', 'a=1', '--launcher', 'none')
    assert (args.checkpoint, args.out_item, args.interval, args.wait_time,
            args.tta) == ('child.pth', 'pred', 5, .5, True)
    with pytest.raises(SystemExit):
        test_args('--out-item', 'pred')
    assert '--out-item needs --out' in capsys.readouterr().err


# -------------------------------------------------------------- load_config


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / 'configs' / 'hkt').mkdir(parents=True)
    (tmp_path / 'configs' / 'hkt' /
     'child_cifar10.py').write_text('a = dict(b=1, c=[1, 2])')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_load_config_merges_options(folder):
    cfg = load_config('configs/hkt/child_cifar10.py', {'a.b': 2, 'a.c': [5]})
    assert cfg.a == dict(b=2, c=[5])


@pytest.mark.parametrize(
    'path',
    [
        'configs/hkt/child_cifar01.py',  # wrong name
        'configs/htk/child_cifar10.py',  # wrong folder
        'confgs/hkt/child_cifar10.py',  # wrong folder above
    ])
def test_wrong_path_names_the_nearest(folder, path):
    with pytest.raises(FileNotFoundError) as error:
        load_config(path)
    assert str(error.value) == (f'there is no config {path}; '
                                'nearest: configs/hkt/child_cifar10.py')


def test_wrong_base_names_both_files(folder):
    (folder / 'mine.py').write_text("_base_ = './configs/hkt/child_cifar1.py'")
    with pytest.raises(FileNotFoundError) as error:
        load_config('mine.py')
    assert str(error.value) == (
        'there is no config configs/hkt/child_cifar1.py, on which mine.py is '
        'based; nearest: configs/hkt/child_cifar10.py')


def test_package_configs():
    cfg = load_config('mmpretrain::resnet/resnet18_8xb16_cifar10.py')
    assert cfg.model.backbone.depth == 18
    with pytest.raises(FileNotFoundError) as error:
        load_config('mmpretrain::resnet/resnet18_8xb16_cifar11.py')
    assert 'nearest: mmpretrain::resnet/resnet18_8xb16_cifar10.py' in str(
        error.value)


def test_mmseg_configs_are_found_whatever_provides_them():
    pytest.importorskip('mmseg')
    cfg = load_config('mmseg::_base_/models/fcn_r50-d8.py')
    assert cfg.model.type == 'EncoderDecoder'


@pytest.mark.parametrize('path, text, message', [
    ('mmpretran::a/b.py', None, 'nearest: mmpretrain'),
    ('mmpretrain::b', None, 'config mmpretrain::b: '),
    ('mine.py', '_base_ = "unknown::a/b.py"', 'config mine.py: .*unknown'),
    ('mine.py', '\na = [1', 'config mine.py, line 2: '),
])
def test_other_mistakes_are_config_errors(folder, path, text, message):
    if text:
        (folder / path).write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


@pytest.mark.parametrize('options, message', [
    ({
        'a.c.7': 1
    }, '--cfg-options: Index 7'),
    ({
        'a.c.1': 1
    }, '--cfg-options: '),
])
def test_options_that_do_not_fit(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        load_config('configs/hkt/child_cifar10.py', options)


def test_mistakes_in_a_config_keep_their_traceback(folder):
    (folder / 'mine.py').write_text('a = 1 / 0')
    with pytest.raises(ZeroDivisionError):
        load_config('mine.py')


# ------------------------------------------------------------ merging flags


def test_work_dir(train_args):
    cfg = config()
    merge_train_args(cfg, train_args())
    assert cfg.work_dir == './work_dirs/child'
    cfg = config(work_dir='of the config')
    merge_train_args(cfg, train_args())
    assert cfg.work_dir == 'of the config'
    merge_train_args(cfg, train_args('--work-dir', 'of the line'))
    assert cfg.work_dir == 'of the line'


def test_resume(train_args):
    cfg = config(load_from='zoo.pth', resume=False)
    merge_train_args(cfg, train_args())
    assert (cfg.load_from, cfg.resume) == ('zoo.pth', False)
    merge_train_args(cfg, train_args('--resume', 'my.pth'))
    assert (cfg.load_from, cfg.resume) == ('my.pth', True)
    merge_train_args(cfg, train_args('--resume'))
    assert (cfg.load_from, cfg.resume) == (None, True)
    cfg = config(load_from='zoo.pth', runner_type='mmhkt.InheritanceRunner')
    merge_train_args(cfg, train_args('--resume'))
    assert (cfg.load_from, cfg.resume) == ('zoo.pth', 'auto')


def test_no_validate(train_args):
    cfg = config()
    merge_train_args(cfg, train_args('--no-validate'))
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None


def test_auto_scale_lr(train_args):
    cfg = config(auto_scale_lr=dict(base_batch_size=128))
    merge_train_args(cfg, train_args('--auto-scale-lr'))
    assert cfg.auto_scale_lr.enable
    with pytest.raises(ConfigError, match='base_batch_size'):
        merge_train_args(config(), train_args('--auto-scale-lr'))


def test_part_of_a_config_is_refused(train_args, test_args):
    part = Config(dict(model=dict(), train_cfg=dict()))
    with pytest.raises(
            ConfigError, match='no train_dataloader, optim_wrapper'):
        merge_train_args(part, train_args())
    with pytest.raises(ConfigError, match='no test_cfg'):
        merge_test_args(part, test_args())


@pytest.mark.parametrize('kind', ['AmpOptimWrapper', 'mmengine.OptimWrapper'])
def test_amp_with_a_gpu(device, kind):
    device('cuda')
    cfg = config()
    cfg.optim_wrapper.type = kind
    set_amp(cfg, True)
    assert cfg.optim_wrapper == dict(
        type='AmpOptimWrapper', loss_scale='dynamic')


def test_amp_without_a_gpu(device):
    device('cpu')
    cfg = config()
    set_amp(cfg)
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    set_amp(cfg, True)
    assert cfg.optim_wrapper == dict(type='mmhkt.AutocastOptimWrapper')
    # The config asks for it, in either spelling, with what only a GPU takes.
    for kind in ('AmpOptimWrapper', 'mmengine.AmpOptimWrapper'):
        cfg.optim_wrapper = dict(
            type=kind, loss_scale=512., dtype='float16', clip_grad=None)
        set_amp(cfg)
        assert cfg.optim_wrapper == dict(
            type='mmhkt.AutocastOptimWrapper', clip_grad=None)


def test_dataloader_defaults(device):
    device('cuda')
    cfg = config()
    cfg.val_dataloader = dict(num_workers=0, collate_fn=dict(type='Mine'))
    cfg.test_dataloader = None
    names = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    set_dataloader_defaults(cfg, names)
    train, val = cfg.train_dataloader, cfg.val_dataloader
    assert train.pin_memory and train.persistent_workers
    assert train.collate_fn.type == 'default_collate'
    # torch refuses workers that persist where there are none
    assert val.pin_memory and not val.persistent_workers
    assert val.collate_fn.type == 'Mine'

    set_dataloader_defaults(cfg, names, True, True)
    assert not train.pin_memory and not train.persistent_workers

    # Nothing is pinned for a GPU that is not there; segmentation stacks none.
    device('cpu')
    cfg = config()
    cfg.default_scope = 'mmseg'
    set_dataloader_defaults(cfg, names)
    assert not cfg.train_dataloader.pin_memory
    assert 'collate_fn' not in cfg.train_dataloader


BASE_OF_CLASSES = """from mmpretrain.engine.hooks import VisualizationHook
from mmpretrain.models import ImageClassifier

default_scope = 'mmpretrain'
model = dict(type=ImageClassifier, backbone=None)
test_cfg = dict()
test_dataloader = dict(dataset=dict())
test_evaluator = dict()
default_hooks = dict(visualization=dict(type=VisualizationHook, enable=False))
"""
OF_CLASSES = """from mmengine.config import read_base

with read_base():
    from .base import *

import mmhkt.methods
from mmhkt.methods import KD

method = [dict(type=KD), dict(type=mmhkt.methods.FitNet)]
"""


def test_a_config_of_classes_is_one_of_their_names(tmp_path, test_args):
    """It can be written, read again, and be asked for names."""
    (tmp_path / 'base.py').write_text(BASE_OF_CLASSES)
    (tmp_path / 'child.py').write_text(OF_CLASSES)
    cfg = load_config(tmp_path / 'child.py')
    assert cfg.method[0].type == 'mmhkt.methods.KD'
    assert cfg.method[1].type == 'mmhkt.methods.FitNet'
    assert cfg.model.type == 'mmpretrain.models.ImageClassifier'
    (tmp_path / 'written.py').write_text(cfg.pretty_text)
    again = load_config(tmp_path / 'written.py')
    assert again.to_dict() == cfg.to_dict()
    merge_test_args(cfg, test_args('--show-dir', 'drawn'))
    assert cfg.default_hooks.visualization.out_dir == 'drawn'
    assert isinstance(METHODS.build(cfg.method[0]), KD)


def test_show(test_args):
    flags = '--show-dir', 'drawn', '--interval', '3'
    cfg = config()
    merge_test_args(cfg, test_args(*flags))
    assert cfg.default_hooks.visualization == dict(
        type='VisualizationHook',
        enable=True,
        show=False,
        wait_time=2,
        interval=3,
        out_dir='drawn')
    # mmseg's hook has other arguments
    cfg = config(visualizer=dict(type='SegLocalVisualizer'))
    cfg.default_hooks.visualization.type = 'SegVisualizationHook'
    merge_test_args(cfg, test_args(*flags))
    assert cfg.default_hooks.visualization == dict(
        type='SegVisualizationHook',
        draw=True,
        show=False,
        wait_time=2,
        interval=3)
    assert cfg.visualizer.save_dir == 'drawn'

    cfg.default_hooks.pop('visualization')
    with pytest.raises(ConfigError, match='visualization'):
        merge_test_args(cfg, test_args('--show'))


def test_tta(test_args):
    cfg = config()
    merge_test_args(cfg, test_args('--tta'))
    assert cfg.model == dict(
        type='mmpretrain.AverageClsScoreTTA', module=dict(type='Child'))
    first, last = cfg.test_dataloader.dataset.pipeline
    assert first == dict(type='A')
    flips, packs = last.transforms
    assert [flip.prob for flip in flips] == [1, 0]
    assert packs == [dict(type='PackInputs')]

    cfg = config(
        tta_model=dict(type='Mine'), tta_pipeline=[dict(type='Other')])
    merge_test_args(cfg, test_args('--tta'))
    assert cfg.model == dict(type='Mine', module=dict(type='Child'))
    assert cfg.test_dataloader.dataset.pipeline == [dict(type='Other')]


def test_checkpoint_and_amp(test_args):
    cfg = config(resume=True)
    merge_test_args(cfg, test_args('--amp'))
    assert (cfg.load_from, cfg.resume, cfg.test_cfg.fp16) == ('child.pth',
                                                              False, True)


def test_build_runner(monkeypatch):
    monkeypatch.setattr(utils.Runner, 'from_cfg', lambda cfg: 'plain')
    monkeypatch.setattr(utils.RUNNERS, 'build', lambda cfg: cfg.runner_type)
    assert build_runner(config()) == 'plain'
    assert build_runner(config(runner_type='mmhkt.Mine')) == 'mmhkt.Mine'


@pytest.mark.slow
@pytest.mark.parametrize('tool, more', [('train', []), ('test', ['x.pth'])])
def test_tools_say_it_in_one_line(folder, tool, more):
    run = subprocess.run(
        [sys.executable, ROOT / f'tools/{tool}.py', 'no.py', *more],
        capture_output=True,
        text=True)
    assert run.returncode == 1
    assert run.stderr.startswith('mmhkt: there is no config no.py; ')
    assert run.stderr.count('\n') == 1


def test_tta_of_a_child(tmp_path, test_args):
    """Averaged over flips, but checked and loaded as the plain child."""
    cfg = digits_config(tmp_path, 'mmhkt.Alone')
    run(cfg)
    plain = build_runner(tested(tmp_path)).test()
    cfg = tested(tmp_path)
    merge_test_args(cfg, test_args('--tta'))
    cfg.load_from = str(tmp_path / 'child.pth')
    found = build_runner(cfg).test()
    assert found.keys() == plain.keys()
    assert found['accuracy/top1'] > 0


def tested(folder):
    return digits_config(folder, load_from=str(folder / 'child.pth'))


def test_a_config_in_python_is_ours_too():
    for kind in ('mmhkt.InheritanceRunner', 'mmhkt.runner.InheritanceRunner'):
        assert is_ours(Config(dict(runner_type=kind)))
    assert not is_ours(Config(dict(runner_type='Runner')))
    assert not is_ours(Config(dict()))
