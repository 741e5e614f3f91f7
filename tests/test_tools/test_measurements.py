# Copyright (c) mmhkt authors. All rights reserved.
import copy
import json

import pytest
import torch
from helpers import CONFIGS, digits_config, dump, prepared, tool

from mmhkt.runner.published_step import PublishedStep
from mmhkt.utils.config import load_config


@pytest.mark.slow
def test_benchmark(tmp_path):
    parent = dict(
        config=str(CONFIGS / 'alone/resnet20_digits.py'), random_weights=True)
    cfg = digits_config(
        tmp_path,
        parent=dict(**parent, fold_norms=True, cache=str(tmp_path / 'no')))
    # Of which a second iterator gives nothing once the first is closed.
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    config = dump(cfg, tmp_path / 'config.py')
    other = dump(digits_config(tmp_path, 'mmhkt.KD'), tmp_path / 'other.py')
    out, trace = tmp_path / 'costs.json', tmp_path / 'trace.json'
    done = tool('benchmark.py', config, '--iters', 3, '--json', out,
                '--against', other, '--profile', trace)
    figures = json.loads(out.read_text())
    names = [
        'data, a batch', 'child alone, step', 'parent as it is, forward',
        'parent, forward', 'hkt, step', 'hkt, step, features kept',
        f'kd, step ({other})'
    ]
    assert list(figures['medians']) == names
    _, child, plain, _, hkt, kept, kd = figures['medians'].values()
    assert figures['relative_to_child'] == pytest.approx(hkt / child)
    assert figures['relative_to_child_plus_parent'] == pytest.approx(
        hkt / (child + plain))
    assert figures['kept_relative_to_child'] == pytest.approx(kept / child)
    assert figures['relative_to_other'] == pytest.approx(hkt / kd)
    low, high = figures['middle_half']['hkt, step']
    assert low <= hkt <= high
    assert figures['images_per_second']['hkt, step'] == pytest.approx(64 / hkt)
    assert figures['peak_memory'] > 2**20
    assert 'hkt, step' in done.stdout and 'features kept' in done.stdout
    assert not (tmp_path / 'no').exists()  # the user's own is left alone
    labels = {
        event.get('name')
        for event in json.loads(trace.read_text())['traceEvents']
    }
    assert {
        'mmhkt.extraction', 'mmhkt.transfer', 'mmhkt.mixture', 'mmhkt.hint',
        'mmhkt.child.mixture'
    } <= labels


@pytest.mark.slow
def test_benchmark_against_the_paper_as_written(tmp_path):
    """With losses that are ours."""
    cfg = digits_config(tmp_path, dict(type='mmhkt.HKT', as_published=True))
    cfg.model = load_config(CONFIGS / 'alone/resnet20_digits.py').model
    model = prepared(cfg)
    torch.manual_seed(0)
    images, labels = torch.randn(16, 3, 8, 8), torch.arange(16) % 10
    child = copy.deepcopy(model.child).train()
    parent = copy.deepcopy(model.parent.network)
    step = PublishedStep(child, parent,
                         torch.optim.SGD(child.parameters(), lr=0.1))
    published = step.losses(images, labels)
    with model.tapped():
        ours = model.train().loss(images, model.task.samples(labels))
    for name, found in published.items():
        name = 'native.loss' if name == 'native' else f'hkt.{name}.loss'
        torch.testing.assert_close(ours[name], found)

    cfg.parent.cache = str(tmp_path / 'no')
    config, out = dump(cfg, tmp_path / 'config.py'), tmp_path / 'costs.json'
    tool('benchmark.py', config, '--iters', 3, '--published', '--json', out)
    figures = json.loads(out.read_text())
    assert figures['published_relative_to_step'] == pytest.approx(
        figures['medians']['as published, step'] /
        figures['medians']['hkt, step'])
    assert figures['published_relative_to_kept'] == pytest.approx(
        figures['medians']['as published, step'] /
        figures['medians']['hkt, step, features kept'])


def test_benchmark_without_a_batch(tmp_path):
    config = dump(digits_config(tmp_path), tmp_path / 'config.py')
    done = tool(
        'benchmark.py',
        config,
        '--cfg-options',
        'train_dataloader.batch_size=2000',
        'train_dataloader.drop_last=True',
        check=False)
    assert done.returncode == 1
    assert 'train_dataloader gives no batch: ' in done.stderr
    assert 'batch_size 2000, drop_last True' in done.stderr


def test_benchmark_without_a_parent(tmp_path):
    config = dump(
        digits_config(tmp_path, 'mmhkt.Alone'), tmp_path / 'config.py')
    done = tool('benchmark.py', config, check=False)
    assert done.returncode == 1
    assert 'has no parent' in done.stderr
    assert 'Traceback' not in done.stderr


def test_benchmark_of_a_config_that_is_none_of_ours():
    done = tool(
        'benchmark.py',
        'mmpretrain::resnet/resnet18_8xb16_cifar10.py',
        check=False)
    assert done.returncode == 1
    assert 'is none of ours: add runner_type' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('network, file, accuracy', [
    ('resnet20', 'HKT-RestNet20.pth', 92.40),
    ('resnet20', 'resnet20-12fca82f.th', 91.73),
    ('resnet56', 'resnet56-4bfd9763.th', 93.39),
])
def test_published_weights_on_the_real_test_set(tmp_path, shared_data,
                                                cifar10_npz, network, file,
                                                accuracy):
    done = tool(
        'test.py',
        CONFIGS / f'alone/{network}_published_cifar10.py',
        shared_data / 'checkpoints' / file,
        '--cfg-options',
        f'test_dataloader.dataset.data_file={cifar10_npz}',
        cwd=tmp_path)
    assert f'accuracy/top1: {accuracy:.4f}' in done.stdout
