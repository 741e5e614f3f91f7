# Copyright (c) mmhkt authors. All rights reserved.
"""Networks of a few layers for the tests of methods."""
from collections import Counter

import torch
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from torch import nn

from mmhkt.models import ImageFormat, Inheritance
from mmhkt.models.parent import Parent
from mmhkt.registry import MODELS

# How often each stage was run, by the first letter of its network and its
# number.
RUNS = Counter()


@MODELS.register_module(force=True)
class Through(nn.Module):
    """A backbone that passes its input through, or returns what it holds."""

    def __init__(self, feature=None):
        super().__init__()
        if feature is not None:
            feature = torch.as_tensor(feature)
        self.register_buffer('feature', feature, persistent=False)

    def forward(self, x):
        feature = x if self.feature is None else self.feature[:len(x)]
        return (feature, )


@MODELS.register_module(force=True)
class Counted(nn.Module):
    """A backbone of three stages, each of which counts that it is run."""

    def __init__(self, role, width):
        super().__init__()
        before = 3
        for i in range(3):
            self.add_module(f'stage{i}',
                            CountedStage(f'{role}{i}', before, width))
            before = width

    def forward(self, x):
        for stage in self.children():
            x = stage(x)
        return (x, )


class CountedStage(nn.Module):

    def __init__(self, name, before, after):
        super().__init__()
        self.name = name
        self.conv = nn.Conv2d(before, after, 3, 2, 1)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, x):
        RUNS[self.name] += 1
        return self.bn(self.conv(x)).relu()


def classifier(backbone, channels, classes=10, neck=None):
    head = dict(
        type='mmpretrain.LinearClsHead',
        num_classes=classes,
        in_channels=channels)
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=backbone,
        neck=neck,
        head=head)


def inherit(child, parent, methods, image):
    """Child and parent as one model, as the runner puts them together."""
    # Whatever scope an earlier run has left.
    init_default_scope('mmpretrain')
    child = MMENGINE_MODELS.build(child)
    if parent is not None:
        parent = Parent(dict(model=parent), random_weights=True)
        parent.connect(child, ImageFormat.of(child))
    return Inheritance(child, parent, methods, image)


def samples(labels):
    return [DataSample().set_gt_label(int(label)) for label in labels]


def stages_model(*methods, child_width=4, parent_width=6, classes=(5, 5)):
    """A child and a parent of three stages and a pooling neck."""
    torch.manual_seed(0)
    pooling = dict(type='mmpretrain.GlobalAveragePooling')
    child, parent = (classifier(
        dict(type='mmhkt.Counted', role=role, width=width), width, count,
        pooling) for role, width, count in zip(('c',
                                                'p'), (child_width,
                                                       parent_width), classes))
    model = inherit(child, parent, methods, torch.rand(2, 3, 16, 16))
    RUNS.clear()
    return model


IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(3))
LABELS = samples([0, 4, 2])


def losses_of(model):
    with model.tapped():
        return model(IMAGES, LABELS, mode='loss')


def ran(*counts):
    """Runs of c0 c1 c2 p0 p1 p2, without the zeros."""
    names = ('c0', 'c1', 'c2', 'p0', 'p1', 'p2')
    return {name: n for name, n in zip(names, counts) if n}
