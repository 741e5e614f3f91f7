# Copyright (c) mmhkt authors. All rights reserved.
"""Stages that a network says it has, or hides in a few modules."""
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmhkt.inheritance import Dissection, Trunk
from mmhkt.inheritance.declared import declared


def halving(inner=4):
    return nn.Sequential(
        nn.Conv2d(inner, inner, 3, 2, padding=1), nn.ReLU(inplace=True))


class Coarse(nn.Module):
    """A stem, and one module that holds all stages, and as much again."""

    def __init__(self, stages=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 1), halving(), halving())
        self.stages = nn.Sequential(*(halving() for _ in range(stages)))
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())

    def forward(self, x):
        return self.head(self.stages(self.stem(x)))


def stages(network):
    found = Trunk(Dissection(network, torch.rand(1, 3, 64, 64), 'child', ''))
    return {stage.site: stage.depth for stage in found.stages}, found


def test_two_coarse_modules_are_opened():
    found, _ = stages(Coarse())
    assert list(found.values()) == [1, 2, 3, 4, 5]
    assert list(found)[:4] == ['stem.1', 'stem', 'stages.0', 'stages.1']


def test_timm_names_modules():
    """Single layers too, which are looked at only where none are composite;
    names of what is not there are passed over."""
    network = Coarse()
    network.feature_info = [
        dict(module=f'{name}', num_chs=4, reduction=2)
        for name in ('stem.2.1', 'stages.0.1', 'stages.1.1', 'stages.2.1',
                     'layer9', '')
    ]
    assert declared(network).sites == ('stem.2.1', 'stages.0.1', 'stages.1.1',
                                       'stages.2.1')
    assert declared(nn.Sequential(network)).sites[0] == '0.stem.2.1'
    found, _ = stages(network)
    assert found == {
        'stem.2.1': 2, 'stages.0.1': 3, 'stages.1.1': 4, 'stages.2.1': 5
    }  # yapf: disable


class Shrinking(nn.Module):
    """Stages that end with a halving, as HuggingFace's Swin."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 4, 4)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1)), halving())
            for _ in range(2))
        self.layers.append(nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1))))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize('settings', [
    dict(stage_names=['stem', 'stage1', 'stage2', 'stage3']),
    dict(depths=(1, 1, 1)),
])
def test_huggingface_says_how_many(settings):
    network = Shrinking()
    assert stages(network)[0] == {'layers.0': 3, 'layers.1': 4, 'layers.2': 4}
    network.config = SimpleNamespace(**settings)
    assert declared(network).count == 3
    assert stages(network)[0] == {
        'layers.0.0': 2, 'layers.1.0': 3, 'layers.2': 4
    }  # yapf: disable


def test_nobody_says():
    assert declared(Coarse()).sites == () and declared(Coarse()).count == 0
    network = Coarse()
    network.config = SimpleNamespace(depths=3)
    assert declared(network).count == 0


class Parts(nn.Module):
    """Returns its patches, each with its own pixels, and all of them."""

    def __init__(self):
        super().__init__()
        self.pixels = nn.Sequential(nn.Linear(4, 4))
        self.patches = nn.Sequential(nn.Linear(4, 4))

    def forward(self, both):
        pixels, patches = both
        return self.pixels(pixels), self.patches(patches)


class Tokens(nn.Module):
    """Four layers like TNT's, behind an embedding; the last returns a class
    token beside the patches, as CvT does."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Conv2d(3, 4, 16, 16))
        self.layers = nn.ModuleList(Parts() for _ in range(4))
        self.last = ClassToken()

    def forward(self, x):
        patches = self.embed(x).flatten(2).transpose(1, 2)
        both = torch.rand(16, 16, 4), patches
        for layer in self.layers:
            both = layer(both)
        return self.last(both[1])


class ClassToken(nn.Module):

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        x = self.linear(x)
        return x, x.mean(1, keepdim=True)


def test_parts_of_images_embeddings_and_class_tokens_are_no_stages():
    found, trunk = stages(Tokens())
    assert trunk.plain
    assert [b.site for b in trunk.blocks] == [f'layers.{i}' for i in range(4)]
    assert [b.site for b in trunk.evenly(2)] == ['layers.1', 'layers.3']
