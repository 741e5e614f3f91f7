# Copyright (c) mmhkt authors. All rights reserved.
"""Every config that is no base: whole, buildable, named for what it does."""
from functools import lru_cache
from pathlib import Path

import mmengine
import mmpretrain
import pytest
import yaml
from helpers import CONFIGS, REPO
from mmengine.config import Config
from mmpretrain import get_model

from mmhkt.models import Parent
from mmhkt.registry import METHODS
from mmhkt.utils.config import load_config

LEAVES = sorted(
    path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob('*.py')
    if path.relative_to(CONFIGS).parts[0] != '_base_')
WITH_PARENT = [name for name in LEAVES if not name.startswith('alone/')]
ZOO = Path(mmpretrain.__file__).parent / '.mim' / 'configs'

# What the parts of a name promise: epochs and images a batch, classes.
SCHEDULES = {'200e': (200, 128), '240e': (240, 64)}
ARRAYS = ('short', 'few', 'published')  # with the data set as one file
DATA = dict(
    digits=('mmhkt.Digits', 10),
    cifar10=('CIFAR10', 10),
    cifar100=('CIFAR100', 100),
    in1k=('ImageNet', 1000))


def parts_of(name):
    """Method, parent, child, schedule and data; None where there is none."""
    method, *parts = Path(name).stem.split('_')
    data = parts.pop()
    schedule = None if data == 'digits' else parts.pop()
    if name.startswith('alone/'):
        assert not parts
        return None, None, method, schedule, data
    parent, child = parts
    return method, parent, child, schedule, data


@lru_cache(None)
def load(name):
    return load_config(CONFIGS / name)


@lru_cache(None)
def child_of(name):
    return get_model(load(name))


def plain(cfg):
    """A config as a dict, without mmengine's notes of where a name is from."""
    if isinstance(cfg, Config):
        cfg = cfg.to_dict()
    if isinstance(cfg, dict):
        return {
            key: plain(value)
            for key, value in cfg.items() if key != '_scope_'
        }
    if isinstance(cfg, (list, tuple)):
        return [plain(value) for value in cfg]
    return cfg


@pytest.mark.parametrize('name', LEAVES)
def test_child_and_method(name):
    cfg = load(name)
    assert cfg.runner_type == 'mmhkt.InheritanceRunner'
    methods = cfg.method if isinstance(cfg.method, list) else [cfg.method]
    for method in methods:
        built = METHODS.build(method)
        assert not built.needs_parent or cfg.get('parent')
    head = child_of(name).head
    assert head.num_classes == cfg.data_preprocessor.num_classes


@pytest.mark.parametrize('name', LEAVES)
def test_name(name):
    cfg = load(name)
    method, parent, child, schedule, data = parts_of(name)
    kind, classes = DATA[data]
    loader = cfg.train_dataloader
    if schedule not in ARRAYS:
        assert loader.dataset.type == kind
    assert cfg.model.head.num_classes == classes
    if schedule in SCHEDULES:
        assert (cfg.train_cfg.max_epochs,
                loader.batch_size) == SCHEDULES[schedule]
    elif schedule not in (None, *ARRAYS):
        assert int(schedule.partition('xb')[2]) == loader.batch_size
    if method is None:
        assert cfg.method.type == 'mmhkt.Alone'
        return
    folder = Path(name).parent.name
    assert method in (folder, f'{folder}-as-published')
    assert cfg.method.type.lower() == f'mmhkt.{folder}'
    assert Path(
        cfg.parent.config.partition('::')[2]).name.startswith(f'{parent}_')


@pytest.mark.parametrize('name', WITH_PARENT)
def test_differs_from_the_child_alone_in_parent_and_method_only(name):
    _, _, child, schedule, data = parts_of(name)
    stem = '_'.join(filter(None, (child, schedule, data)))
    alone = f'alone/{stem}.py'
    if alone not in LEAVES:
        # A child of the zoo: that its model is untouched.
        path = next(ZOO.glob(f'*/{stem}.py'))
        alone = f'mmpretrain::{path.parent.name}/{path.name}'
        ours, other = plain(load(name)), plain(load_config(alone))
    else:
        ours, other = plain(load(name)), plain(load(alone))
    for cfg in (ours, other):
        for key in ('method', 'parent', 'runner_type'):
            cfg.pop(key, None)
    # A look at the parent before training does not change the training.
    ours.get('default_hooks', {}).pop('extraction', None)
    assert ours == other


@pytest.mark.parametrize('name', WITH_PARENT)
def test_parent(name):
    cfg = load(name)
    parent = dict(cfg.parent)
    checkpoint = parent.pop('checkpoint')
    built = Parent.from_cfg(dict(parent, random_weights=True))
    assert built.network.head.num_classes == child_of(name).head.num_classes

    source, _, path = parent['config'].partition('::')
    if source == 'mmhkt':
        assert path in LEAVES
        if not checkpoint.startswith('data/'):
            # Where tools/train.py leaves what it trains.
            assert checkpoint == f'work_dirs/{Path(path).stem}/child.pth'
    else:
        published = [
            model.get('Weights') or ''
            for model in yaml.safe_load((ZOO / Path(path).parent /
                                         'metafile.yml').read_text())['Models']
            if model['Config'] == f'configs/{path}'
        ]
        # The host differs between OpenMMLab and its maintained fork.
        assert checkpoint.partition('/mmclassification/')[2] in [
            weights.partition('/mmclassification/')[2] for weights in published
        ]


def test_as_published_switches_off_what_is_ours():
    hkt = load('hkt/hkt-as-published_resnet110_resnet20_200e_cifar10.py')
    assert METHODS.build(hkt.method).attention['gate_gradient']
    lepoket = METHODS.build(
        load('lepoket/'
             'lepoket-as-published_resnet110_resnet20_200e_cifar10.py').method)
    assert lepoket.attention['gate_gradient'] and lepoket.schedule == []
    assert lepoket.weights == dict(native=0, inherited=1, parent_head=0)


@pytest.mark.parametrize('name', WITH_PARENT)
def test_can_be_typed_from_memory(name):
    assert len((CONFIGS / name).read_text().splitlines()) <= 15


@pytest.mark.parametrize('folder', sorted({Path(n).parent for n in LEAVES}))
def test_folder_describes_its_configs(folder):
    """Each config stands in the metafile, with its figures, and in the
    README."""
    metafile = mmengine.load(CONFIGS / folder / 'metafile.yml')
    models = {model['Config']: model for model in metafile['Models']}
    names = [name for name in LEAVES if Path(name).parent == folder]
    assert sorted(models) == [f'configs/{name}' for name in names]
    collections = [entry['Name'] for entry in metafile['Collections']]
    for name in names:
        model, cfg = models[f'configs/{name}'], load(name)
        assert model['Name'] == Path(name).stem
        assert model['In Collection'] in collections
        assert model['Metadata']['Epochs'] == cfg.train_cfg.max_epochs
        assert model['Metadata']['Parameters'] == sum(
            p.numel() for p in child_of(name).parameters())
    for entry in metafile['Collections']:
        readme = (REPO / entry['README']).read_text(encoding='utf-8')
        assert [n for n in names if f'(./{Path(n).name})' not in readme] == []


def test_read_as_an_installed_package():
    name = 'hkt/hkt_resnet56_resnet20_240e_cifar100.py'
    assert plain(load_config(f'mmhkt::{name}')) == plain(load(name))
