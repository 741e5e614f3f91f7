# Copyright (c) mmhkt authors. All rights reserved.
"""What a step costs where there are many images to remember."""
import statistics
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmhkt.models import ImageFormat, Inheritance, Parent, build_network
from mmhkt.runner.inheritance_runner import build_methods
from mmhkt.utils.config import load_config

# ImageNet's, in smaller images, whose networks take less of a step.
IMAGES, CLASSES, BATCH, SIZE = 1_281_167, 1000, 16, 112
ZOO = 'mmpretrain::resnet/resnet{}_8xb32_in1k.py'


def step_of(method):
    """A training step of ResNet-34 -> ResNet-18, without the optimiser."""
    torch.manual_seed(0)
    methods = build_methods(method)
    labels = torch.arange(IMAGES) % CLASSES
    for method in methods:
        method.survey(SimpleNamespace(get_gt_labels=lambda: labels))
    child = build_network(load_config(ZOO.format(18)))
    parent = Parent(ZOO.format(34), random_weights=True)
    parent.connect(child, ImageFormat.of(child, order='rgb'))
    images = torch.randn(BATCH, 3, SIZE, SIZE)
    model = Inheritance(child, parent, methods, images[:1])
    numbers = torch.arange(BATCH) * 70_001
    samples = model.task.samples(labels[numbers])
    for sample, number in zip(samples, numbers.tolist()):
        sample.set_metainfo(dict(sample_idx=number))

    def step():
        with model.tapped():
            loss, _ = model.parse_losses(model.loss(images, samples))
        loss.backward()
        nn.Module.zero_grad(model)

    return step


@pytest.mark.slow
def test_crd_of_imagenet_costs_as_fitnet():
    steps = dict(
        # Of its default site the parent stops in the middle.
        fitnet=step_of(dict(type='mmhkt.FitNet', sites='last')),
        crd=step_of(dict(type='mmhkt.CRD')))
    times = {name: [] for name in steps}
    for turn in range(5):
        for name, step in steps.items():
            begin = time.process_time()  # what others do is not counted
            step()
            if turn:  # the first allocates
                times[name].append(time.process_time() - begin)
    fitnet, crd = (statistics.median(times[name]) for name in steps)
    print(f'{IMAGES:,} images, batches of {BATCH}: FitNet {fitnet:.2f} s, CRD '
          f'{crd:.2f} s of CPU a step, {crd / fitnet:.2f} times')
    assert crd <= 1.2 * fitnet
