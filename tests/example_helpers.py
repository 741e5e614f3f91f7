# Copyright (c) mmhkt authors. All rights reserved.
"""A small flow run, and samples of flow, to draw."""
import uuid

import numpy as np
import torch
from helpers import CONFIGS

from mmhkt.structures import FlowDataSample
from mmhkt.utils.config import load_config

FLOW = CONFIGS / 'alone/raft-reduced-small_synthetic.py'


def flow_config(work_dir, **options):
    """Two iterations of two rendered pairs."""
    cfg = load_config(FLOW)
    cfg.merge_from_dict({
        'model.iters_train': 2,
        'model.iters_test': 2,
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'train_dataloader.batch_size': 2,
        'train_dataloader.dataset.length': 8,
        'train_dataloader.dataset.size': (40, 48),
        'val_dataloader.batch_size': 2,
        'val_dataloader.dataset.length': 3,
        'val_dataloader.dataset.size': (40, 48),
        'param_scheduler.total_steps': 2,
        'log_level': 'WARNING',
        'work_dir': str(work_dir),
        **options
    })
    cfg.test_dataloader = cfg.val_dataloader
    # mmengine's managers keep one state a name, also between runs.
    cfg.experiment_name = uuid.uuid4().hex
    return cfg


def flow_sample(size=(20, 30), speed=8., error=1., unknown=5):
    """A frame, and a sample that moves to the right, predicted too fast; of
    its first rows nothing is known."""
    gt_flow = torch.zeros(2, *size)
    gt_flow[0] = speed
    valid = torch.ones(size, dtype=torch.bool)
    valid[:unknown] = False
    pred_flow = gt_flow.clone()
    pred_flow[0] += error
    frame = np.full((*size, 3), 100, np.uint8)
    return frame, FlowDataSample(
        gt_flow=gt_flow,
        valid=valid,
        pred_flow=pred_flow,
        metainfo=dict(img_path='scene/frame_0001.png'))
