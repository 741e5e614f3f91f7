# Copyright (c) mmhkt authors. All rights reserved.
import pytest
from example_helpers import flow_config
from helpers import read, run

from mmhkt.hooks import FlowVisualizationHook
from mmhkt.registry import RUNNERS


def names(folder):
    return sorted(path.name for path in folder.rglob('*.png'))


def test_while_training_and_testing(tmp_path):
    options = {'default_hooks.visualization.enable': True}
    cfg = flow_config(tmp_path, **options)
    cfg.default_hooks.visualization.interval = 2
    run(cfg)
    # Of three samples in batches of two, after two iterations.
    assert names(tmp_path) == [
        'val_00000_synthetic-pair-0-of-seed-1_2.png',
        'val_00002_synthetic-pair-2-of-seed-1_2.png'
    ]
    assert 'raft.feature_encoder.convnormrelu.0.weight' in read(
        tmp_path / 'iter_2.pth')['state_dict']

    cfg = flow_config(
        tmp_path / 'test', load_from=str(tmp_path / 'iter_2.pth'), **options)
    cfg.default_hooks.visualization.out_dir = str(tmp_path / 'out')
    RUNNERS.build(cfg).test()
    assert names(tmp_path /
                 'out') == ['test_00000_synthetic-pair-0-of-seed-1.png']


def test_nothing_by_default(tmp_path):
    run(flow_config(tmp_path))
    assert names(tmp_path) == []


def test_interval():
    with pytest.raises(ValueError, match='from 1 on, but got 0'):
        FlowVisualizationHook(interval=0)
