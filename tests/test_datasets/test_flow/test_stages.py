# Copyright (c) mmhkt authors. All rights reserved.
"""The data of RAFT's four stages, as the configs have it."""
import pytest
import torch
from flow_helpers import (write_chairs_tree, write_hd1k_tree, write_kitti_tree,
                          write_sintel_tree, write_things_tree)
from helpers import CONFIGS
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope

from mmhkt.registry import MODELS
from mmhkt.utils.config import load_config

# Pairs to train on and to validate with, and the size that is trained on.
STAGES = dict(
    chairs=(2, 1, (368, 496)),
    things=(8, 8, (400, 720)),
    sintel=(4 + 100 * 4 + 200 * 1 + 5 * 2, 4, (368, 768)),
    kitti=(1, 1, (288, 960)))


@pytest.mark.parametrize('stage', STAGES)
def test_stage(stage, tmp_path, monkeypatch):
    for write in (write_chairs_tree, write_hd1k_tree, write_kitti_tree,
                  write_sintel_tree, write_things_tree):
        write(tmp_path / 'data')
    monkeypatch.chdir(tmp_path)
    cfg = load_config(CONFIGS / f'_base_/datasets/flow_{stage}.py')
    preprocessor = MODELS.build(cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        train = DATASETS.build(cfg.train_dataloader.dataset)
        val = DATASETS.build(cfg.val_dataloader.dataset)
    length, val_length, size = STAGES[stage]
    assert (len(train), len(val)) == (length, val_length)

    # One of each data set, in a batch.
    samples = [train[i] for i in (0, 4, 404, 604) if i < length]
    batch = preprocessor(pseudo_collate(samples), True)
    assert batch['inputs'].shape == (len(samples), 6, *size)
    assert all(s.gt_flow.shape == (2, *size) for s in batch['data_samples'])
    assert all(s.valid.dtype == torch.bool for s in batch['data_samples'])

    paths = [{d.get_data_info(i)['img_path']
              for i in range(len(d))} for d in (train, val)]
    assert not paths[0] & paths[1]
    batch = preprocessor(pseudo_collate([val[0]]))
    assert batch['inputs'].shape == (1, 6, 16, 24)
