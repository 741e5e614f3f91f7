# Copyright (c) mmhkt authors. All rights reserved.
import copy
import json
import shutil

import numpy as np
import pytest
import torch
from browser import check_views, find_browser
from flow_helpers import flow_config
from helpers import CONFIGS, digits_config, run
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmpretrain.structures import DataSample
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS
from seg_helpers import images as write_images
from seg_helpers import tiny_config, tiny_model
from test_comparison.test_report import Outline
from torch import nn
from torch.utils.data import DataLoader

from mmhkt.analysis import (ExplainedVariance, MinibatchCKA, attributions,
                            observe, shuffled)
from mmhkt.analysis.attribution import where_they_look
from mmhkt.analysis.command import _other_classes, _trunks, look, pictures
from mmhkt.analysis.given import Given, given_comparison
from mmhkt.analysis.observe import Observation, _aligned, _Reader
from mmhkt.analysis.report import _short, render, sentences, table_of
from mmhkt.analysis.summary import largest_changes, summarise
from mmhkt.cli import inspect
from mmhkt.comparison.intervals import holm
from mmhkt.comparison.records import read_record
from mmhkt.inheritance import pair_stages
from mmhkt.models import ImageFormat, Parent, build_network
from mmhkt.utils.config import ConfigError, load_config


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A child, which is its own parent, and another one."""
    folder = tmp_path_factory.mktemp('trained')
    for name, seed in (('one', 0), ('other', 1)):
        cfg = digits_config(folder / name, 'mmhkt.Alone',
                            **{'randomness.seed': seed})
        cfg.custom_hooks = [dict(type='mmhkt.RecordHook')]
        run(cfg)
    cfg = digits_config(
        folder,
        parent=dict(
            config=str(CONFIGS / 'alone/resnet8-narrow_digits.py'),
            checkpoint=str(folder / 'one/child.pth')))
    return folder, cfg


def both(folder, cfg):
    return Given(
        cfg, {
            'child': str(folder / 'one/child.pth'),
            'child alone': str(folder / 'other/child.pth')
        }, 'child alone')


def test_a_child_that_is_its_parent(trained):
    folder, cfg = trained
    given = both(folder, cfg)
    seen = look(given)
    found, classes, *networks = seen
    assert found.images == 64 and len(found.stages) == 3
    assert np.diag(found.cka['child']) == pytest.approx(1, abs=1e-5)
    assert found.explained['child'] == pytest.approx(1, abs=1e-4)
    assert (np.diag(found.cka['child alone']) < 0.999).all()
    assert (found.explained['child alone'] < 0.999).all()
    assert found.scores['child'] == pytest.approx(
        found.scores['parent'], abs=1e-5)
    summary = summarise(found, classes, given)
    # As the runs themselves were scored.
    for name, run_name in (('child', 'one'), ('child alone', 'other')):
        noted = read_record(folder / run_name)['validations']['2']
        assert summary['networks'][name]['score'] == pytest.approx(
            noted['accuracy/top1'])
    right = {
        name: scores.argmax(1) == found.labels
        for name, scores in found.scores.items()
    }
    changes = summary['changes']['child']
    assert changes['won'] == (right['child'] & ~right['child alone']).sum()
    assert changes['parent_right']['won'] in (1.0, None)
    json.dumps(summary, allow_nan=False)
    assert str(changes['won']) in sentences(summary)[0]
    assert table_of(summary).row_count == 3  # parent too
    page = render(summary)
    outline = Outline(page)
    assert set(outline.tables) == {'results', 'stages', 'parts'}
    assert outline.figures == dict(cka=2, explained=1, gains=1, reliability=1)
    assert 'script' not in [tag for tag, _ in outline.tags]
    # Every figure says in words what it shows.
    assert page.count('<title') == 1 + 5
    shown = where_they_look(*networks, [3, 5])
    for one in shown:
        assert one['image'].shape == (8, 8, 3) and one['image'].max() <= 1
        assert one['maps']['child'] == pytest.approx(
            one['maps']['parent'], abs=1e-4)
        assert one['predicted']['parent'] == found.scores['parent'][
            one['sample']].argmax()
    outline = Outline(render(summary, shown))
    assert outline.figures['look'] == 2


def test_a_parent_of_other_classes_is_not_scored(trained, capsys):
    folder, cfg = trained
    cfg = copy.deepcopy(cfg)
    parent = load_config(cfg.parent.config)
    parent.model.head.num_classes = 20
    cfg.parent = dict(config=parent.to_dict(), random_weights=True)
    given = both(folder, cfg)
    seen = look(given, images=16)
    assert 'not scored: it has another number' in capsys.readouterr().out
    summary = summarise(seen.found, seen.classes, given)
    assert list(summary['networks']) == ['child', 'child alone']
    assert summary['cka']  # features are looked at all the same
    assert not any('The parent is' in text for text in sentences(summary))
    shown = pictures(summary, seen, 3)
    assert all('parent' not in one['maps'] for one in shown)
    render(summary, shown)


@pytest.mark.parametrize('names, why', [
    (('owl', 'cat'), 'its classes are in another order'),
    (('cat', 'emu'), '"owl" is none of these'),
    (('cat', 'owl'), ''),
    (None, ''),
])
def test_whether_predictions_are_of_the_same_classes(names, why):
    found = _other_classes((2, None), ['cat', 'owl'], names)
    assert why in found and bool(why) == bool(found)
    assert 'another number' in _other_classes((2, 3), ['cat', 'owl'], names)


def test_only_some_images_and_no_child_alone(trained):
    folder, cfg = trained
    cfg = copy.deepcopy(cfg)
    cfg.val_dataloader.batch_size = 16
    given = Given(cfg, dict(child=str(folder / 'one/child.pth')))
    seen = look(given, images=20)
    found, classes = seen[:2]
    assert found.images == 20
    summary = summarise(found, classes, given)
    assert summary['changes'] == {} and sentences(summary) == []
    assert pictures(summary, seen, 3) == []
    assert 'class="reliability"' in render(summary)


def test_the_command_and_mistakes(trained, tmp_path):
    folder, cfg = trained
    path = tmp_path / 'my.py'
    cfg.dump(str(path))
    weights = str(folder / 'one/child.pth')
    for args, message in (([str(path), 'nowhere.pth'], 'no checkpoint'), ([
            str(CONFIGS / 'alone/resnet8-narrow_digits.py'), 'x'
    ], 'has no parent'), ([str(path)], 'needs a checkpoint'),
                          ([str(tmp_path), weights], 'is a folder'),
                          ([str(tmp_path)], 'no child with a parent')):
        with pytest.raises(SystemExit, match=message):
            inspect.main(args)
    inspect.main([str(path), weights, '--out', str(tmp_path / 'out')])
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        'inheritance.html', 'inheritance.json'
    ]


@pytest.fixture
def comparison(trained, tmp_path):
    """Two methods and the child alone, with two seeds; one is not done."""
    folder, cfg = trained
    for name, method, weights, seeds in (('alone', 'Alone', 'other', (0, 7)),
                                         ('kd', 'KD', 'other', (0, 7)),
                                         ('hkt', 'HKT', 'one', (7, ))):
        for seed in (0, 7):
            run_folder = tmp_path / name / f'seed_{seed}'
            run_folder.mkdir(parents=True)
            one = copy.deepcopy(cfg)
            one.method = dict(type=f'mmhkt.{method}')
            one.dump(f'{run_folder}.py')
            if seed in seeds:
                shutil.copy(folder / weights / 'child.pth', run_folder)
    return tmp_path


def test_a_whole_comparison(comparison, tmp_path, capsys):
    assert list(given_comparison(comparison).checkpoints) == ['kd', 'alone']
    given = given_comparison(comparison, seed=7)
    assert given.inherited == ['hkt', 'kd'] and given.reference == 'alone'
    with pytest.raises(ConfigError, match='seeds: 0, 7'):
        given_comparison(comparison, seed=8)
    inspect.main([
        str(comparison), '--seed', '7', '--images', '64', '--out',
        str(tmp_path / 'out')
    ])
    # No terminal: lines, no bar.
    assert '64 of 64 images, 0 s left' in capsys.readouterr().out
    summary = json.loads((tmp_path / 'out/inheritance.json').read_text())
    scores = {k: v['score'] for k, v in summary['networks'].items()}
    assert scores['kd'] == scores['alone']
    assert scores['hkt'] == scores['parent']
    assert summary['changes']['kd']['won'] == 0
    assert summary['best'] == max(given.inherited, key=scores.get)
    page = (tmp_path / 'out/inheritance.html').read_text()
    outline = Outline(page)
    assert outline.figures['cka'] == 3
    assert len(page) < 1e6


@pytest.mark.slow
def test_ten_methods_in_a_browser(trained, tmp_path):
    """The page of a comparison of ten methods, with pictures."""
    browser = find_browser()
    folder, cfg = trained
    given = both(folder, cfg)
    names = [f'method-{i}' for i in range(10)]
    given = Given(
        cfg, {
            **dict.fromkeys(names, given.checkpoints['child']), 'alone':
            given.checkpoints['child alone']
        }, 'alone')
    seen = look(given)
    summary = summarise(seen.found, seen.classes, given)
    page = tmp_path / 'inheritance.html'
    text = render(summary, pictures(summary, seen, 3))
    page.write_text(text)
    looks = Outline(text).figures.get('look', 0)
    assert len(text.encode()) < 2e6
    check_views(browser, page, tmp_path, '#results tbody tr:first-child td',
                11 + 3 + looks)


def untrained(cfg, folder, seeds=(0, 1)):
    """A pair as it begins, and the child with other weights."""
    paths = []
    for seed in seeds:
        torch.manual_seed(seed)
        network = build_network(cfg)
        network.init_weights()
        paths.append(str(folder / f'{seed}.pth'))
        torch.save(network.state_dict(), paths[-1])
    return Given(cfg, {
        'child': paths[0],
        'child alone': paths[1]
    }, 'child alone')


def test_segmentation_by_class(tmp_path):
    given = untrained(tiny_config(tmp_path, 'mmhkt.HKT'), tmp_path)
    seen = look(given)
    summary = summarise(seen.found, seen.classes, given)
    assert (summary['metric'], summary['unit']) == ('mIoU', '%')
    # As mmsegmentation itself has it
    metric = IoUMetric(ignore_index=255, iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=seen.classes)
    network = seen.children['child']
    dataset = seen.dataset
    with torch.no_grad():
        for i in range(len(dataset)):
            batch = pseudo_collate([dataset[i]])
            metric.process(batch,
                           [s.to_dict() for s in network.test_step(batch)])
    # Image by image in the order of the data set
    rows = np.stack([intersect.numpy() for intersect, *_ in metric.results])
    assert (seen.found.sums['child']['mIoU'].above == rows).all()
    areas = [sum(x) for x in zip(*metric.results)]
    expected = (100 * areas[0] / areas[1]).numpy()
    by_part = summary['networks']['child']['by_part']
    assert list(by_part) == seen.classes
    assert list(by_part.values()) == pytest.approx(expected, rel=1e-5)
    assert summary['networks']['child']['score'] == pytest.approx(
        np.nanmean(expected), rel=1e-5)
    changes = summary['changes']['child']
    assert 0 < changes['won'] + changes['lost'] <= len(dataset)
    outline = Outline(render(summary))
    assert set(outline.tables) == {'results', 'stages', 'parts'}
    assert outline.figures == dict(cka=2, explained=1, gains=1)
    json.dumps(summary, allow_nan=False)


def test_a_segmentor_of_other_classes_is_not_scored(tmp_path, capsys):
    """It has no names of them; VolumeDice would not even take its labels."""
    cfg = tiny_config(
        tmp_path, 'mmhkt.HKT', parent=tiny_model(stride=8, width=8, classes=6))
    given = untrained(cfg, tmp_path)
    seen = look(given)
    assert 'not scored: it has another number' in capsys.readouterr().out
    assert seen.parent is None
    summary = summarise(seen.found, seen.classes, given)
    assert list(summary['networks']) == ['child', 'child alone']


class Slices(DATASETS.get('BaseSegDataset')):
    """Images of which every three are a volume of as many."""

    def load_data_list(self):
        return [
            dict(info, volume=f'v{i // 3}', slice=i % 3, slices=3)
            for i, info in enumerate(super().load_data_list())
        ]


def volumes_config(folder):
    write_images(folder / 'data', count=15)
    cfg = tiny_config(folder, 'mmhkt.HKT')
    cfg.val_evaluator = dict(type='mmhkt.VolumeDice')
    dataset = cfg.val_dataloader.dataset
    dataset.type = Slices
    dataset.pipeline[-1].meta_keys = ('volume', 'slice', 'slices', 'ori_shape',
                                      'img_shape')
    return cfg


def test_volumes(tmp_path):
    given = untrained(volumes_config(tmp_path), tmp_path)
    seen = look(given)
    assert seen.found.images == 15
    assert seen.found.held_out == 'whole volumes'
    summary = summarise(seen.found, seen.classes, given)
    assert (summary['noun'], summary['scored']) == ('volumes', 5)
    assert sentences(summary)[0].startswith('Of 5 volumes the child has')
    assert 'volume by volume' in sentences(summary)[0]
    assert table_of(summary).title == '15 slices of 5 volumes'
    changes = summary['changes']['child']
    assert set(changes['won_samples'] + changes['lost_samples']) <= set(
        range(5))
    page = render(summary)
    assert 'volumes won' in page and 'whole volumes are held out' in page
    # Some of them, whole
    seen = look(given, images=8)
    assert seen.found.images == 9
    assert len(seen.found.sums['child']['mDice'].above) == 3
    given.cfg.val_dataloader.dataset.indices = 8
    with pytest.raises(ConfigError, match=r'1 volumes \(v2\)'):
        look(given)


def test_flow_by_speed(tmp_path, monkeypatch):
    given = untrained(flow_config(tmp_path, 'mmhkt.HKT'), tmp_path)
    folds, update = [], ExplainedVariance.update
    monkeypatch.setattr(
        ExplainedVariance, 'update', lambda self, q, z, fold:
        (folds.append(fold.tolist()), update(self, q, z, fold)))
    rows, take_up = [], MinibatchCKA.update
    monkeypatch.setattr(
        MinibatchCKA, 'update', lambda self, q, z:
        (rows.append(len(q[0])), take_up(self, q, z)))
    seen = look(given)
    # Both frames of a pair are fitted on, or neither; CKA sees the first one.
    assert {len(fold) for fold in folds} == {2, 4}
    assert all(fold[:len(fold) // 2] == fold[len(fold) // 2:]
               for fold in folds)
    assert set(rows) == {1, 2}
    summary = summarise(seen.found, seen.classes, given)
    assert (summary['metric'], summary['unit']) == ('EPE', 'px')
    # Pairs, not frames.
    assert seen.found.images == len(seen.dataset)
    assert not summary['higher']
    network = seen.children['child']
    errors, speeds = [], []
    with torch.no_grad():
        for i in range(len(seen.dataset)):
            sample, = network.test_step(pseudo_collate([seen.dataset[i]]))
            errors.append(
                (sample.pred_flow - sample.gt_flow).norm(dim=0)[sample.valid])
            speeds.append(sample.gt_flow.norm(dim=0)[sample.valid])
    errors, speeds = torch.cat(errors), torch.cat(speeds)
    found = summary['networks']['child']
    assert found['score'] == pytest.approx(float(errors.mean()), rel=1e-4)
    slow = errors[speeds < 10].mean()
    assert found['by_part']['s0-10'] == pytest.approx(float(slow), rel=1e-4)
    changes = summary['changes']['child']
    gain = dict(largest_changes(summary, 'child'))
    # A smaller error is a gain.
    assert np.sign(gain['s0-10']) == np.sign(
        summary['networks']['child alone']['by_part']['s0-10'] -
        found['by_part']['s0-10'])
    assert changes['won'] + changes['lost'] == len(seen.dataset)
    assert sentences(summary)[0].startswith('Of 3 pairs the child has the')
    assert table_of(summary).title == '3 pairs'
    assert set(Outline(
        render(summary)).tables) == {'results', 'stages', 'parts'}


def pair_of(model, parent):
    """A child, and a parent of random weights that is connected to it."""
    torch.manual_seed(0)
    cfg = Config(dict(model=model))
    child = build_network(cfg).eval()
    parent = Parent(config=dict(model=parent), random_weights=True)
    parent.connect(child, ImageFormat.of(child, cfg))
    return child, parent


def classifier(backbone, channels, **neck):
    return dict(
        type='mmpretrain.ImageClassifier',
        data_preprocessor=dict(num_classes=4, mean=[128.] * 3, std=[64.] * 3),
        backbone=backbone,
        neck=[*neck.values(),
              dict(type='mmpretrain.GlobalAveragePooling')],
        head=dict(
            type='mmpretrain.LinearClsHead',
            num_classes=4,
            in_channels=channels,
            loss=dict(type='mmpretrain.CrossEntropyLoss')))


SMALL = classifier(
    dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        stem_channels=8,
        base_channels=8), 64)
TRANSFORMER = classifier(
    dict(
        type='mmpretrain.SwinTransformer',
        arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]),
        img_size=64,
        window_size=2), 64)
BRANCHES = classifier(
    dict(
        type='mmpretrain.HRNet',
        extra={
            f'stage{i}':
            dict(
                num_modules=1,
                num_branches=i,
                block='BOTTLENECK' if i == 1 else 'BASIC',
                num_blocks=(1, ) * i,
                num_channels=(8, 16, 32, 64)[:i])
            for i in (1, 2, 3, 4)
        }),
    2048,
    fuse=dict(type='mmpretrain.HRFuseScales', in_channels=(8, 16, 32, 64)))


def by_class(count=96, size=32):
    """Samples of four classes that are told apart by a picture each, in the
    order of their classes."""
    rng = torch.Generator().manual_seed(0)
    pictures = 60 * torch.randn(4, 3, size, size, generator=rng)
    samples = []
    for i in range(count):
        label = i * 4 // count
        image = 128 + pictures[label] + 40 * torch.randn(
            3, size, size, generator=rng)
        samples.append(
            dict(
                inputs=image.clamp(0, 255).byte(),
                data_samples=DataSample().set_gt_label(label)))
    return samples


STAGES = [(f'backbone.layer{i}', f'backbone.layer{i}') for i in (1, 4)]


def test_a_set_in_the_order_of_its_classes():
    """As all images at once, whatever the batches; found in its own order."""
    child, parent = pair_of(SMALL, SMALL)
    samples = by_class()
    cka, scores = {}, {}
    for size in (1, 24, len(samples)):
        given = DataLoader(samples, batch_size=size, collate_fn=pseudo_collate)
        loader, order = shuffled(given)
        found = observe({'child': child}, parent, loader, STAGES, order=order)
        cka[size], scores[size] = found.cka['child'], found.scores['child']
        assert found.labels.tolist() == [i // 24 for i in range(96)]
        assert found.positions.tolist() == list(range(96))
        assert found.held_out == order.held_out
    whole = np.diag(cka[96])
    assert np.diag(cka[1]) == pytest.approx(whole, abs=.05)
    assert np.diag(cka[24]) == pytest.approx(whole, abs=.05)
    assert scores[1] == pytest.approx(scores[96], abs=1e-5)
    # Class by class it would be another.
    given = DataLoader(samples, batch_size=24, collate_fn=pseudo_collate)
    found = observe({'child': child}, parent, given, STAGES)
    assert abs(np.diag(found.cka['child']) - whole).max() > .05


@pytest.mark.parametrize('other', [TRANSFORMER, BRANCHES])
def test_stages_of_several_outputs(other):
    """Swin's return their size too, HRNet's are outputs of one module."""
    child, parent = pair_of(SMALL, other)
    samples = by_class(16, 64)
    loader = DataLoader(samples, batch_size=8, collate_fn=pseudo_collate)
    batch = child.data_preprocessor(next(iter(loader)), False)['inputs']
    stages = pair_stages(*_trunks(child, parent, batch[:1]))
    assert len(stages) == 4
    found = observe({'child': child}, parent, loader, stages)
    assert np.isfinite(found.cka['child']).all()
    # Of the finest stage 64 positions an image are enough.
    assert np.isfinite(found.explained['child'][0])


class Odd(nn.Module):
    """Returns what it is given, in three ways."""

    def __init__(self):
        super().__init__()
        self.last, self.both, self.tokens = (
            Hand(*how)
            for how in ((lambda x: x.movedim(1, -1), ),
                        (lambda x: [x, 2 * x], ),
                        (lambda x: (x.flatten(2).transpose(1, 2), (4, 6)), )))
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images, samples=None, mode='tensor'):
        x = images * self.weight
        for module in (self.last, self.both, self.tokens):
            module(x)
        return samples


class Hand(nn.Module):

    def __init__(self, hand):
        super().__init__()
        self.forward = hand


def test_features_as_maps_with_their_channels_first():
    network = Odd()
    images = torch.randn(3, 5, 4, 6)
    reader = _Reader(network, images[:1],
                     ['last', 'both[0]', 'both[1]', 'both', 'tokens'], 'child')
    assert reader.predict(images, ['as it is']) == ['as it is']
    for feature, factor in zip(reader.features, (1, 1, 2, 2, 1)):
        assert feature.allclose(factor * images)
    assert [x.shape for x in reader.sampled()] == [(3, 24, 5)] * 5
    # Larger images, at positions that are as many
    reader.predict(torch.randn(2, 5, 8, 12), [])
    assert [x.shape for x in reader.sampled()] == [(2, 24, 5)] * 5


def test_attribution_of_a_linear_network():
    """Of which it is known: weight times pixel."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 6))
    images = torch.randn(2, 3, 4, 5)
    found = attributions([network, lambda x: 2 * network(x)], images, [1, 4])
    weights = network[1].weight[[1, 4]].reshape(2, 3, 4, 5)
    expected = (weights * images).sum(1).detach().numpy()
    assert found[0] == pytest.approx(expected, abs=1e-5)
    assert found[1] == pytest.approx(2 * expected, abs=1e-5)


def test_the_best_of_several_children():
    """Of equals one is the best on these images."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    names = [*(f'child {i}' for i in range(5)), 'alone']
    scores = {}
    for name in names:
        predicted = np.where(rng.random(400) < .8, labels, 1 - labels)
        scores[name] = .1 + .8 * np.eye(2)[predicted]
    found = Observation([('a', 'b')], scores=scores, labels=labels, images=400)
    several, *single = (
        summarise(found, ['x', 'y'], Given(None, dict.fromkeys(these),
                                           'alone'))
        for these in (names, *([name, 'alone'] for name in names[:-1])))
    changes = several['changes']
    raw = [one['changes'][name]['p'] for one, name in zip(single, names)]
    assert [c['p'] for c in changes.values()] == pytest.approx(holm(raw))
    assert min(c['p'] for c in changes.values()) == min(1, 5 * min(raw))
    assert 'adjusted for 5 children by Holm' in sentences(several)[0]
    assert 'adjusted' not in sentences(single[0] | {'best': 'child 0'})[0]


def test_figures_that_are_not_known():
    nothing = np.full((1, 1), np.nan)
    found = Observation([('a', 'b')],
                        cka=dict(child=nothing),
                        explained=dict(child=nothing[0]),
                        images=3)
    given = Given(Config(), dict(child='child.pth'))
    summary = summarise(found, [], given)
    page = render(summary)
    assert 'No CKA: of features that do not vary' in page
    assert 'fewer than 5 rows' in page and 'nan' not in page.lower()
    assert 'fewer than 5 rows' in table_of(summary).caption
    json.dumps(summary, allow_nan=False)


def test_images_by_their_place_in_the_set(trained):
    """Of some images too."""
    folder, cfg = trained
    given = both(folder, cfg)
    every, some = look(given), look(given, images=24)
    positions = some.found.positions
    assert len(positions) == 24 and (np.diff(positions) > 0).all()
    assert positions[-1] > 24
    assert (every.found.labels[positions] == some.found.labels).all()
    changes = [
        set(changes['won_samples'] + changes['lost_samples']) for changes in (
            summarise(seen.found, seen.classes, given)['changes']['child']
            for seen in (every, some))
    ]
    assert changes[1] == changes[0] & set(positions.tolist())
    assert changes[1]


@pytest.mark.parametrize('names, short', [
    (['backbone.layer1', 'backbone.layer2'], ['layer1', 'layer2']),
    (['a.b.0', 'a.b.0.c'], ['0', '0.c']),
    (['layer1'], ['layer1']),
    (['a.x', 'b.x'], ['a.x', 'b.x']),
])
def test_names_below_a_figure(names, short):
    assert _short(names) == short


def test_stages_of_other_shapes():
    """Maps of other sizes, tokens and vectors are brought together."""
    q, z = _aligned(torch.randn(2, 3, 32, 32), torch.randn(2, 5, 16, 4))
    assert q.shape == (2, 8 * 4, 3) and z.shape == (2, 8 * 4, 5)
    q, z = _aligned(torch.randn(2, 3, 4, 4), torch.randn(2, 7, 5))
    assert q.shape == (2, 3) and z.shape == (2, 5)
    tokens = torch.randn(2, 7, 5)
    assert _aligned(tokens, tokens)[0].equal(tokens)
    vectors = torch.randn(2, 5)
    assert _aligned(vectors, tokens)[0].equal(vectors)
