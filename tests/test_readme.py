# Copyright (c) mmhkt authors. All rights reserved.
"""What the README shows works as it stands."""
import re

import pytest
from helpers import CONFIGS, REPO, digits_config, read, run

from mmhkt.registry import METHODS
from mmhkt.utils.config import load_config

BLOCKS = re.findall(r'```python\n(.*?)```', (REPO / 'README.md').read_text(),
                    re.DOTALL)


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
    settings = {}
    exec(block('gate_per'), settings)
    method = dict(
        settings['method'],
        sites=[
            dict(child='backbone.layer3', parent='backbone.layer3.-1'),
            dict(child='neck', parent='neck')
        ])
    assert method['sites'] == settings['method']['sites']
    runner = run(digits_config(tmp_path, method))
    assert [s.parent for s in runner.model.methods[0].sites
            ] == ['backbone.layer3.-1', 'neck']


def test_new_method(tmp_path):
    code = block('class Imitation').replace('from .base',
                                            'from mmhkt.methods.base')
    try:
        exec(code, dict(__name__='imitation'))
        cfg = digits_config(
            tmp_path,
            'mmhkt.Imitation',
            parent=dict(
                config=str(CONFIGS / 'alone/resnet8-narrow_digits.py'),
                random_weights=True))
        runner = run(cfg)
    finally:
        METHODS.module_dict.pop('Imitation', None)
    names = runner.message_hub.log_scalars
    assert names['train/imitation.loss_imitation'].data[0].min() > 0
    assert 'transfer' in read(tmp_path / 'epoch_2.pth')


def test_new_method_beside_hkt(tmp_path):
    """A list of methods; one of a name is numbered."""
    runner = run(
        digits_config(
            tmp_path,
            [dict(type='mmhkt.HKT'),
             dict(type='mmhkt.HKT', sites='stages')]))
    names = runner.message_hub.log_scalars
    assert {'train/hkt0.inherited.loss',
            'train/hkt1.inherited.loss'} <= set(names)
    assert 'train/native.loss' in names


@pytest.mark.parametrize(
    'path',
    re.findall(r'\]\(((?!http)[^)]+)\)', (REPO / 'README.md').read_text()))
def test_links(path):
    assert (REPO / path).exists()
