# Copyright (c) mmhkt authors. All rights reserved.
"""What the inheritance machinery finds in a flow network."""
from collections import Counter

import pytest
import torch
from helpers import CONFIGS
from torch import nn

from mmhkt.inheritance import Dissection, Extraction
from mmhkt.models import ImageFormat, Parent, build_network, task_of
from mmhkt.structures import FlowDataSample
from mmhkt.utils.config import load_config


def network(name, **settings):
    cfg = load_config(CONFIGS / f'alone/raft-reduced-{name}_synthetic.py')
    cfg.model.update(dict(iters_train=2), **settings)
    torch.manual_seed(0)
    return cfg, build_network(cfg)


def batch():
    rng = torch.Generator().manual_seed(0)
    return dict(
        inputs=torch.randint(0, 256, (2, 6, 40, 48), generator=rng),
        data_samples=[
            FlowDataSample(
                gt_flow=torch.randn(2, 40, 48, generator=rng),
                valid=torch.ones(40, 48, dtype=torch.bool)) for _ in range(2)
        ])


def test_task():
    _, child = network('small')
    task = task_of(child)
    assert task.name == 'optical flow'
    data = child.data_preprocessor(batch())
    dissection = Dissection(child, data['inputs'], 'child')
    assert task.logits_site(dissection) == 'raft'
    assert task.head_site(dissection) is None
    runs = {
        name: dissection.runs(f'raft.{name}')
        for name in ('feature_encoder.layer3', 'context_encoder',
                     'update_block.motion_encoder',
                     'update_block.recurrent_block')
    }
    # Of both frames in one batch; once an update.
    assert list(runs.values()) == [1, 1, 2, 2]
    assert dissection.layout('raft.feature_encoder.layer2').stride == 4
    with pytest.raises(TypeError, match=r'mmhkt.RAFT \(optical flow\)'):
        task_of(nn.Linear(1, 1))


def test_predictions_of_another_take_their_place():
    """A child's loss of its parent's flows, without a run of the child."""
    _, child = network('small')
    _, parent = network('large')
    parent.eval()
    data = child.data_preprocessor(batch())
    extraction = Extraction(child, Dissection(child, data['inputs'], 'child'),
                            None, 'raft')
    extraction.want(['raft'], rerun=True)
    ran = Counter()
    for name, module in child.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.update([name]))
    with extraction.tapped():
        with extraction.record():
            own = child(**data, mode='loss')
        assert ran['raft.feature_encoder'] == 1

        flows = parent(data['inputs'])
        with extraction.rerun({'raft': lambda _: flows}):
            judged = child(**data, mode='loss')
        assert ran['raft.feature_encoder'] == 1
    assert judged == parent(**data, mode='loss') != own
    judged['loss'].backward()
    assert all(p.grad is not None for p in parent.parameters())
    assert not any(p.grad is not None for p in child.parameters())


def test_parent_gets_images_as_it_was_trained_with():
    cfg, parent_network = network(
        'large',
        data_preprocessor=dict(
            type='mmhkt.FlowDataPreprocessor',
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375)))
    child_cfg, child = network('small')
    parent = Parent(cfg, random_weights=True)
    parent.connect(child, ImageFormat.of(child, child_cfg))
    images = parent.images(child.data_preprocessor(batch())['inputs'])
    wanted = parent_network.data_preprocessor(batch())['inputs']
    assert torch.allclose(images, wanted, atol=1e-5)
