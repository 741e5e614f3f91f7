# Copyright (c) mmhkt authors. All rights reserved.
import copy
import json

import numpy as np
import pytest
import torch
from helpers import CONFIGS, digits_config, run
from test_comparison.test_report import Outline
from torch import nn

from mmhkt.analysis import attributions
from mmhkt.analysis.attribution import where_they_look
from mmhkt.analysis.command import look, summarise
from mmhkt.analysis.observe import _aligned
from mmhkt.analysis.report import render, sentences, table_of
from mmhkt.cli import inspect
from mmhkt.comparison.records import read_record


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


def test_a_child_that_is_its_parent(trained):
    folder, cfg = trained
    given = {
        'child': str(folder / 'one/child.pth'),
        'child alone': str(folder / 'other/child.pth')
    }
    found, classes, networks = look(cfg, given)
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
        assert summary['networks'][name]['accuracy'] == pytest.approx(
            noted['accuracy/top1'])
    right = {
        name: scores.argmax(1) == found.labels
        for name, scores in found.scores.items()
    }
    changes = summary['changes']
    assert changes['won'] == (right['child'] & ~right['child alone']).sum()
    assert changes['parent_right']['won'] in (1.0, None)
    json.dumps(summary, allow_nan=False)
    assert str(changes['won']) in sentences(summary)[0]
    assert table_of(summary).row_count == 3
    page = render(summary)
    outline = Outline(page)
    assert set(outline.tables) == {'stages', 'classes'}
    assert outline.figures == dict(cka=2, explained=1, reliability=1)
    assert 'script' not in [tag for tag, _ in outline.tags]
    # Every figure says in words what it shows.
    assert page.count('<title') == 1 + 4
    shown = where_they_look(*networks, [3, 5])
    for one in shown:
        assert one['image'].shape == (8, 8, 3) and one['image'].max() <= 1
        assert one['maps']['child'] == pytest.approx(
            one['maps']['parent'], abs=1e-4)
        assert one['predicted']['parent'] == found.scores['parent'][
            one['sample']].argmax()
    outline = Outline(render(summary, shown))
    assert outline.figures['look'] == 2


def test_only_some_images_and_no_child_alone(trained):
    folder, cfg = trained
    cfg = copy.deepcopy(cfg)
    cfg.val_dataloader.batch_size = 16
    given = dict(child=str(folder / 'one/child.pth'))
    found, classes, _ = look(cfg, given, images=20)
    assert found.images == 32
    summary = summarise(found, classes, given)
    assert summary['changes'] is None and sentences(summary) == []
    assert 'class="reliability"' in render(summary)


def test_the_command_and_mistakes(trained, tmp_path):
    folder, cfg = trained
    path = tmp_path / 'my.py'
    cfg.dump(str(path))
    for args, message in (([str(path), 'nowhere.pth'], 'no checkpoint'), ([
            str(CONFIGS / 'alone/resnet8-narrow_digits.py'), 'x'
    ], 'has no parent')):
        with pytest.raises(SystemExit, match=message):
            inspect.main(args)
    inspect.main([
        str(path),
        str(folder / 'one/child.pth'), '--out',
        str(tmp_path / 'out')
    ])
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        'inheritance.html', 'inheritance.json'
    ]


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
