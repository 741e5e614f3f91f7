# Copyright (c) mmhkt authors. All rights reserved.
"""What the README shows works as it stands."""
import json
import os
import re

import pytest
from helpers import REPO, digits_config, run, tool

from mmhkt.comparison import costs
from mmhkt.registry import METHODS
from mmhkt.utils.config import load_config

README = (REPO / 'README.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', README, re.DOTALL)


def block(text):
    return next(b for b in BLOCKS if text in b)


def test_ten_lines(tmp_path):
    path = tmp_path / 'my_child.py'
    path.write_text(block('# my_child.py'))
    code = [line for line in path.read_text().splitlines() if line.strip()]
    assert len(code) <= 10
    cfg = load_config(path)
    assert cfg.model.backbone.depth == 18
    assert load_config(cfg.parent.config).model.backbone.depth == 50


def test_everything_typed(tmp_path):
    """It is the default, and finds the same sites."""
    plain, typed = tmp_path / 'plain.py', tmp_path / 'typed.py'
    plain.write_text(block('# my_child.py'))
    typed.write_text(block('# my_child.py') + block('sites=['))
    default = METHODS.build(dict(type='mmhkt.HKT'))
    method = METHODS.build(load_config(typed).method)
    assert method.attention == default.attention
    assert method.weights == default.weights
    assert method.schedule == default.schedule
    assert method.bound == default.bound
    found, told = [
        tool('print_pairing.py', path, '--random-parent', '--shape', '32',
             '32').stdout for path in (plain, typed)
    ]
    assert 'backbone.layer4' in found
    assert told == found


@pytest.mark.slow
def test_new_method_appears_in_the_comparison(tmp_path, monkeypatch):
    """One file and one config, and nothing else is touched."""
    monkeypatch.setattr(costs, 'ROUNDS', 2)
    (tmp_path / 'imitation.py').write_text(block('class Imitation'))
    config = tmp_path / 'compare_imitation.py'
    config.write_text(block('# compare_imitation.py'))
    tool(
        'compare.py',
        config,
        '--seeds',
        '0',
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        'train_cfg.max_epochs=1',
        'train_dataloader.dataset.indices=128',
        'comparison.train_parent=False',
        'parent.checkpoint=None',
        'parent.random_weights=True',
        cwd=tmp_path,
        env={
            **os.environ, 'PYTHONPATH': str(tmp_path)
        })
    table = json.loads((tmp_path / 'work/comparison.json').read_text())
    assert [m['name']
            for m in table['methods']] == ['alone', 'imitation', 'hkt']
    for method in table['methods']:
        assert [run['state'] for run in method['runs']] == ['finished']
    log = (tmp_path / 'work/imitation/seed_0/log.txt').read_text()
    assert 'imitation.distillation.loss' in log
    for name in ('comparison.md', 'comparison.csv', 'comparison.html'):
        assert 'imitation' in (tmp_path / 'work' / name).read_text().lower()


def test_comparison():
    settings = {}
    exec(block('# my_comparison.py'), settings)
    for method in settings['comparison']['methods']:
        methods = method if isinstance(method, list) else [method]
        for one in methods:
            one = dict(type=one) if isinstance(one, str) else dict(one)
            METHODS.build(one)


def test_new_method_beside_hkt(tmp_path):
    """A list of methods; one of a name is numbered."""
    runner = run(
        digits_config(tmp_path, [
            dict(type='mmhkt.HKT', weights=dict(native=1)),
            dict(type='mmhkt.HKT', sites='last')
        ]))
    names = runner.message_hub.log_scalars
    assert {'train/hkt0.inherited.loss',
            'train/hkt1.inherited.loss'} <= set(names)
    assert 'train/native.loss' in names


@pytest.mark.parametrize(
    'path',
    re.findall(r'\]\(((?!http)[^)]+)\)',
               re.sub(r'```.*?```', '', README, flags=re.DOTALL)))
def test_links(path):
    assert (REPO / path).exists()
