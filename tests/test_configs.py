# Copyright (c) mmhkt authors. All rights reserved.
"""Every config that is no base: whole, buildable, named for what it does."""
import re
from functools import lru_cache
from pathlib import Path

import mmengine
import mmpretrain
import mmseg
import pytest
import yaml
from helpers import CONFIGS, REPO
from mmengine.config import Config

from mmhkt.models import RAFT, Parent, build_network
from mmhkt.registry import METHODS
from mmhkt.runner.inheritance_runner import build_methods
from mmhkt.utils.config import load_config

# Comparisons, which list methods of their own, have their own tests.
LEAVES = sorted(
    path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob('*.py')
    if path.relative_to(CONFIGS).parts[0] not in ('_base_', 'compare',
                                                  'studies'))
WITH_PARENT = [name for name in LEAVES if not name.startswith('alone/')]
FOLDERS = sorted({Path(name).parent.as_posix() for name in LEAVES})
ZOOS = {
    package.__name__: Path(package.__file__).parent / '.mim' / 'configs'
    for package in (mmpretrain, mmseg)
}

# What may stand behind a method in a name.
VARIANTS = ('', '-as-published', '-logit-standardised', '-3hkt')
# What the parts of a name promise: epochs and images a batch, or images and
# thousands of iterations; classes.
SCHEDULES = {
    '200e': (200, 128),
    '240e': (240, 64),
    '30e': (30, 128),
    '10e': (10, 128)
}
ITERATIONS = r'(?:\d+xb(\d+))?-?(?:(\d+)k)?'
UNSCHEDULED = ('digits', 'synthetic', 'pairs', 'mni152')  # there is but one
# With the data set as one file.
ARRAYS = ('short', 'few', 'few-24e', 'few-100e', 'published', '30e', '10e')
DATA = dict(
    digits=('mmhkt.Digits', 10),
    fashion=('mmhkt.ArrayDataset', 10),
    cifar10=('CIFAR10', 10),
    cifar100=('CIFAR100', 100),
    in1k=('ImageNet', 1000),
    lits=('mmhkt.LiTSDataset', 3),
    mni152=('mmhkt.MNI152', 3),
    camvid=('BaseSegDataset', 11),
    cityscapes=('CityscapesDataset', 19),
    ade20k=('ADE20KDataset', 150),
    voc12aug=('PascalVOCDataset', 21),
    synthetic=('mmhkt.SyntheticFlow', None),
    pairs=('mmhkt.SyntheticFlow', None),
    chairs=('mmhkt.TorchvisionFlow', None),
    things=('mmhkt.TorchvisionFlow', None),
    sintel=('mmhkt.TorchvisionFlow', None),
    kitti=('mmhkt.TorchvisionFlow', None))


def parts_of(name):
    """Method, parent, child, schedule and data; None where there is none."""
    method, *parts = Path(name).stem.split('_')
    data = parts.pop()
    scheduled = data not in UNSCHEDULED or parts[-1:] == ['few']
    schedule = parts.pop() if scheduled else None
    if name.startswith('alone/'):
        assert not parts
        return None, None, method, schedule, data
    parent, child = parts
    return method, parent, child, schedule, data


@lru_cache(None)
def load(name):
    return load_config(CONFIGS / name)


def methods_of(cfg):
    return cfg.method if isinstance(cfg.method, list) else [cfg.method]


# Of what many configs share, by its text.
BUILT = {}


def child_of(name):
    key = repr(plain(load(name).model))
    if key not in BUILT:
        # Not the config that is kept: building writes into it.
        BUILT[key] = build_network(load_config(CONFIGS / name))
    return BUILT[key]


def parent_of(cfg):
    key = repr(plain(cfg))
    if key not in BUILT:
        BUILT[key] = Parent.from_cfg(cfg).network
    return BUILT[key]


def classes_of(network):
    """How many classes a classifier or a segmentor tells apart; None where
    a network is of optical flow."""
    if isinstance(network, RAFT):
        return None
    head = getattr(network, 'decode_head', None) or network.head
    return head.num_classes


def is_of(path, name):
    """Whether a file's name begins with a network's, in which `-` may stand
    for the `_` of the zoo."""
    return Path(path).stem.replace('_', '-').startswith(name)


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
    for method in build_methods(cfg.method):
        assert not method.needs_parent or cfg.get('parent')
    classes = classes_of(child_of(name))
    if cfg.default_scope == 'mmpretrain':
        assert classes == cfg.data_preprocessor.get('num_classes')


@pytest.mark.parametrize('name', LEAVES)
def test_name(name):
    cfg = load(name)
    method, parent, child, schedule, data = parts_of(name)
    kind, classes = DATA[data.partition('-')[0]]
    loader = cfg.train_dataloader
    if schedule not in ARRAYS:
        dataset = loader.dataset
        # Pascal VOC is a concatenation.
        assert (dataset.get('datasets') or [dataset])[0].type == kind
    assert classes_of(child_of(name)) == classes
    if schedule in SCHEDULES:
        assert (cfg.train_cfg.max_epochs,
                loader.batch_size) == SCHEDULES[schedule]
    elif schedule not in (None, *ARRAYS):
        images, thousands = re.fullmatch(ITERATIONS, schedule).groups()
        assert images or thousands
        assert images in (None, str(loader.batch_size))
        if thousands:
            assert cfg.train_cfg.max_iters == int(thousands) * 1000
    if method is None:
        assert cfg.method.type == 'mmhkt.Alone'
        return
    kinds = [m.type.lower().removeprefix('mmhkt.') for m in methods_of(cfg)]
    assert kinds[0] == Path(name).parent.name
    combined = '-'.join(kinds)
    assert method in [combined + variant for variant in VARIANTS]
    assert is_of(cfg.parent.config.partition('::')[2], f'{parent}-')


@pytest.mark.parametrize('name', WITH_PARENT)
def test_differs_from_the_child_alone_in_parent_and_method_only(name):
    _, _, child, schedule, data = parts_of(name)
    stem = '_'.join(filter(None, (child, schedule, data)))
    alone = f'alone/{stem}.py'
    if alone not in LEAVES:
        # A child of the zoo: that its model is untouched.
        alone = next(f'{zoo}::{path.parent.name}/{path.name}'
                     for zoo, folder in ZOOS.items()
                     for path in folder.glob('*/*.py')
                     if is_of(path, stem.replace('_', '-')))
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
    network = parent_of(dict(parent, random_weights=True))
    assert classes_of(network) == classes_of(child_of(name))

    source, _, path = parent['config'].partition('::')
    if source == 'mmhkt':
        assert path in LEAVES
        if not checkpoint.startswith('data/'):
            # Where tools/train.py leaves what it trains.
            assert checkpoint == f'work_dirs/{Path(path).stem}/child.pth'
    else:
        metafile, = (ZOOS[source] / Path(path).parent).glob('metafile.y*ml')
        published = [
            model.get('Weights') or ''
            for model in yaml.safe_load(metafile.read_text())['Models']
            if model['Config'] == f'configs/{path}'
        ]
        # The host differs between OpenMMLab and its maintained fork.
        assert '.onedl.ai/' in checkpoint
        assert checkpoint.partition('.ai/')[2] in [
            weights.partition('.ai/')[2] or weights.partition('.com/')[2]
            for weights in published
        ]


# Where the published weight depends on the pair.
OF_PAIR = dict(
    DKD=dict(
        resnet56_resnet20=dict(nontarget=2),
        resnet32x4_resnet8x4=dict(nontarget=8)),
    ReviewKD=dict(
        resnet56_resnet20=dict(distillation=0.6),
        resnet32x4_resnet8x4=dict(distillation=5)))


@pytest.mark.parametrize('method', OF_PAIR)
def test_weights_of_the_pair(method):
    for pair, weights in OF_PAIR[method].items():
        low = method.lower()
        built = METHODS.build(
            load(f'{low}/{low}_{pair}_240e_cifar100.py').method)
        assert weights.items() <= built.weights.items()
        assert built.weights['native'] == 1
        # A warm-up of 20 of the 240 epochs.
        assert {cfg['end'] * 240 for cfg in built.schedule} == {20}


def test_standardised():
    built = METHODS.build(
        load('kd/kd-logit-standardised_resnet56_resnet20_'
             '240e_cifar100.py').method)
    assert built.standardise and built.temperature == 2
    assert built.weights == dict(native=0.1, distillation=9)


def test_combined():
    cfg = load('hkt/hkt-kd_resnet56_resnet20_few_cifar10.py')
    assert [m.type for m in cfg.method] == ['mmhkt.HKT', 'mmhkt.KD']


@pytest.mark.parametrize(
    'path',
    sorted((CONFIGS / '_base_' / 'methods').glob('*.py')),
    ids=lambda path: path.stem)
def test_method_piece(path):
    cfg = load_config(path)
    assert cfg.runner_type == 'mmhkt.InheritanceRunner'
    kind = type(METHODS.build(cfg.method)).__name__.lower()
    assert path.stem.split('_')[0] == kind


def test_every_parent_piece_is_used():
    texts = [(CONFIGS / name).read_text() for name in WITH_PARENT]
    for path in (CONFIGS / '_base_' / 'parents').glob('*.py'):
        piece = f'../_base_/parents/{path.name}'
        assert any(piece in text for text in texts), piece
        assert list(load_config(path)) == ['parent']


@pytest.mark.parametrize('name', WITH_PARENT)
def test_neither_widths_nor_layers_are_typed(name):
    """They are found; only a child's or parent's own config has them."""
    text = (CONFIGS / name).read_text()
    assert 'sites=[' not in text
    assert not re.search(r'channel|layer|backbone\b|neck|\bfc\b', text)


def test_as_published_switches_off_what_is_ours():
    hkt = load('hkt/hkt-as-published_resnet110_resnet20_200e_cifar10.py')
    hkt = METHODS.build(hkt.method)
    assert hkt.attention['gate_gradient'] and hkt.weights['hint'] == 0
    lepoket = METHODS.build(
        load('lepoket/'
             'lepoket-as-published_resnet110_resnet20_200e_cifar10.py').method)
    assert lepoket.attention['gate_gradient'] and lepoket.schedule == []
    assert lepoket.weights == dict(
        native=0, inherited=1, parent_head=0, hint=0, logits=0)


@pytest.mark.parametrize('name', WITH_PARENT)
def test_can_be_typed_from_memory(name):
    assert len((CONFIGS / name).read_text().splitlines()) <= 15


@pytest.mark.parametrize('folder', FOLDERS)
def test_folder_describes_its_configs(folder):
    """Each config stands in the metafile, with its figures, and in the
    README."""
    metafile = mmengine.load(CONFIGS / folder / 'metafile.yml')
    models = {model['Config']: model for model in metafile['Models']}
    names = [name for name in LEAVES if name.startswith(f'{folder}/')]
    assert sorted(models) == [f'configs/{name}' for name in names]
    collections = [entry['Name'] for entry in metafile['Collections']]
    for name in names:
        model, cfg = models[f'configs/{name}'], load(name)
        assert model['Name'] == Path(name).stem
        assert model['In Collection'] in collections
        length = cfg.train_cfg.get('max_epochs') or cfg.train_cfg.max_iters
        unit = 'Epochs' if 'max_epochs' in cfg.train_cfg else 'Iterations'
        assert model['Metadata'][unit] == length
        assert model['Metadata']['Parameters'] == sum(
            p.numel() for p in child_of(name).parameters())
    for entry in metafile['Collections']:
        readme = (REPO / entry['README']).read_text(encoding='utf-8')
        assert [n for n in names if f'(./{Path(n).name})' not in readme] == []


def test_index_lists_every_folder():
    index = yaml.safe_load((REPO / 'model-index.yml').read_text())['Import']
    assert index == [f'configs/{folder}/metafile.yml' for folder in FOLDERS]
    names = [
        model['Name'] for path in index
        for model in yaml.safe_load((REPO / path).read_text())['Models']
    ]
    assert len(set(names)) == len(names)


def test_read_as_an_installed_package():
    name = 'hkt/hkt_resnet56_resnet20_240e_cifar100.py'
    assert plain(load_config(f'mmhkt::{name}')) == plain(load(name))
