# Copyright (c) mmhkt authors. All rights reserved.
import json
import random

import cv2
import numpy as np
import pytest
import torch
from example_helpers import flow_config
from helpers import CONFIGS, digits_config, read, run, same
from mmengine.logging import MMLogger
from seg_helpers import tiny_config

from mmhkt.hooks import ExamplesHook, examples_hook
from mmhkt.hooks.examples_hook import spread

HOOKS = [
    dict(type='mmhkt.RecordHook'),
    dict(type='mmhkt.ExamplesHook', number=2)
]


def files(folder):
    return {path.name for path in (folder / 'examples').iterdir()}


def index(folder):
    return json.loads((folder / 'examples/examples.json').read_text())


def record(folder):
    """Without what differs between any two runs."""
    noted = json.loads((folder / 'record.json').read_text())
    return {k: v for k, v in noted.items() if k not in ('step', 'peak_memory')}


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(MMLogger, 'warning',
                        lambda self, text, *args: lines.append(str(text)))
    return lines


def test_segmentation(tmp_path):
    """Child and parent are drawn, and the training is as without."""
    runner = run(tiny_config(tmp_path, custom_hooks=HOOKS))
    folder = tmp_path / 'run'
    assert files(folder) == {'examples.json'} | {
        f'0{i}_{who}.png'
        for i in (0, 1)
        for who in ('image', 'truth', 'child', 'parent')
    }
    found = index(folder)
    assert found['task'] == 'segmentation'
    # The middle of each half of four.
    assert [s['name'] for s in found['samples']] == ['1.png', '3.png']
    image = cv2.imread(str(folder / 'examples/00_image.png'))
    assert (image == cv2.imread(str(tmp_path / 'data/img/1.png'))).all()
    truth = cv2.imread(str(folder / 'examples/00_truth.png'))[..., ::-1]
    mask = cv2.imread(str(tmp_path / 'data/ann/1.png'), 0)
    # Where nothing is known the image is dark, elsewhere it has colour.
    assert np.allclose(truth[:8, :8], .4 * image[:8, :8, ::-1], atol=1)
    name, colour = found['classes'][0]
    where = mask == int(name)
    assert np.allclose(
        truth[where],
        .4 * image[where][:, ::-1] + .6 * np.array(colour),
        atol=1)
    assert 'do not count' in found['note']

    # What it says is what the child, tested, would reach.
    child = runner.model.eval()
    dataset = runner.val_dataloader.dataset
    with torch.no_grad():
        sample, = child.test_step(
            runner.val_dataloader.collate_fn([dataset[1]]))
    right = (sample.pred_sem_seg.data[0].numpy() == mask)[mask < 255].mean()
    assert found['samples'][0]['child'][
        'caption'] == f'{100 * right:.1f} % of pixels right'

    other = tiny_config(tmp_path, custom_hooks=HOOKS[:1])
    other.work_dir = str(tmp_path / 'other')
    run(other)
    assert record(folder) == record(tmp_path / 'other')
    assert not (tmp_path / 'other/examples').exists()
    one, two = (
        read(path / 'iter_2.pth')['state_dict']
        for path in (folder, tmp_path / 'other'))
    assert same(one, two)


def test_flow(tmp_path):
    run(flow_config(tmp_path, custom_hooks=HOOKS))
    assert files(tmp_path) == {'examples.json'} | {
        f'0{i}_{who}.png'
        for i in (0, 1)
        for who in ('image', 'truth', 'child', 'child_error')
    }
    sample = index(tmp_path)['samples'][0]
    assert sample['child']['files'] == ['00_child.png', '00_child_error.png']
    assert sample['child']['caption'].startswith('EPE ')
    assert sample['truth']['caption'].startswith('up to ')


def test_flow_of_a_parent(tmp_path):
    parent = str(CONFIGS / 'alone/raft-reduced-large_synthetic.py')
    run(
        flow_config(
            tmp_path,
            method=dict(type='mmhkt.HKT', sites='2hkt'),
            parent=dict(config=parent, random_weights=True),
            custom_hooks=HOOKS))
    sample = index(tmp_path)['samples'][0]
    assert sample['parent']['files'] == [
        '00_parent.png', '00_parent_error.png'
    ]
    assert sample['parent']['caption'] != sample['child']['caption']


def test_random_numbers_and_modes_stay(tmp_path):
    runner = run(flow_config(tmp_path))
    runner.model.train()
    states = random.getstate(), np.random.get_state()[1].copy()
    state = torch.get_rng_state()
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    ExamplesHook(1).after_train(runner)
    assert len(index(tmp_path)['samples']) == 1
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), state)
    assert runner.model.training and same(before, runner.model.state_dict())
    # Once more: those of before are replaced.
    ExamplesHook(2).after_train(runner)
    assert len(index(tmp_path)['samples']) == 2


def test_a_run_that_is_resumed_at_its_end_draws(tmp_path):
    run(flow_config(tmp_path, custom_hooks=HOOKS[:1]))
    assert not (tmp_path / 'examples').exists()
    run(flow_config(tmp_path, custom_hooks=HOOKS, resume=True))
    assert len(index(tmp_path)['samples']) == 2
    assert record(tmp_path)['finished']


def test_what_goes_wrong_is_a_warning(tmp_path, monkeypatch, warnings):

    def broken(*args):
        raise OSError('no space left')

    monkeypatch.setattr(examples_hook, 'write_text', broken)
    run(flow_config(tmp_path, custom_hooks=HOOKS))
    assert 'No examples were drawn: OSError: no space left' in warnings
    assert record(tmp_path)['finished']
    assert not list(tmp_path.glob('examples*'))


def test_no_pictures_of_classification(tmp_path, warnings):
    run(digits_config(tmp_path, custom_hooks=HOOKS))
    assert not list(tmp_path.glob('examples*'))
    assert not [text for text in warnings if 'examples' in text]


def test_averaged_weights_are_drawn(tmp_path):
    """Those that are in the checkpoint, of which the exported child is."""
    hooks = [dict(type='EMAHook', momentum=0.5), *HOOKS]
    runner = run(flow_config(tmp_path, custom_hooks=hooks))
    child = examples_hook._plain_child(runner)
    assert same(child.state_dict(), read(tmp_path / 'child.pth')['state_dict'])


def test_spread():
    assert spread(4, 101) == [12, 37, 63, 88]
    assert spread(4, 2) == [0, 1]
    assert spread(1, 1) == [0] and spread(3, 0) == []


def test_number():
    with pytest.raises(ValueError, match='from 0 on, but got -1'):
        ExamplesHook(-1)
