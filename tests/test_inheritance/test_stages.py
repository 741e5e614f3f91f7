# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import timm
import torch
import torchvision
from mmpretrain.models import ConvNeXt, MobileNetV2
from torch import nn

from mmhkt.inheritance import Dissection, Trunk, pair_stages
from mmhkt.inheritance.stages import halvings


def conv(*args):
    return nn.Sequential(nn.Conv2d(*args[:2], 3, *args[2:], padding=1))


def trunk(network, size=(64, 64), backbone='backbone'):
    image = torch.rand(1, 3, *size)
    return Trunk(Dissection(network, image, 'child', backbone))


def as_backbone(module):
    network = nn.Sequential()
    network.add_module('backbone', module)
    return network


def sites(stages):
    return [stage.site.removeprefix('backbone.') for stage in stages]


class Stages(nn.Module):
    """Stages of some strides, each of two blocks, behind a stem."""

    def __init__(self, *strides, returns=()):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, padding=1)
        self.count = len(strides)
        self.returns = returns
        for i, stride in enumerate(strides, 1):
            self.add_module(
                f'layer{i}',
                nn.Sequential(conv(4, 4, stride), nn.ReLU(), conv(4, 4)))

    def forward(self, x):
        x = self.stem(x)
        found = []
        for i in range(1, self.count + 1):
            x = self.get_submodule(f'layer{i}')(x)
            found.append(x)
        return [found[i] for i in self.returns] or x


# ------------------------------------------------------------------ halvings

SIZES = [32, 224, 225, 300, 380, 512, 769]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('round_up', [True, False])
def test_halvings_whichever_way_is_rounded(size, round_up):
    rows = [size]
    for _ in range(5):
        rows.append((rows[-1] + round_up) // 2)
    assert halvings(size, rows) == {row: i for i, row in enumerate(rows)}


def test_halvings_without_padding():
    """Inception-v3 at 299, whose strides are 2.03, 4.27, 9.8, 21.3."""
    assert halvings(299, [149, 147, 73, 71, 35, 17, 8]) == {
        149: 1, 147: 1, 73: 2, 71: 2, 35: 3, 17: 4, 8: 5}  # yapf: disable


# -------------------------------------------------------------------- trunks


def test_the_last_block_of_each_resolution_is_a_stage():
    found = trunk(as_backbone(Stages(1, 2, 1, 2, 1, 2)))
    assert sites(found.blocks) == [f'layer{i}' for i in range(1, 7)]
    assert sites(found.stages) == ['layer1', 'layer3', 'layer5', 'layer6']
    assert [s.depth for s in found.stages] == [1, 2, 3, 4]
    assert [s.rank for s in found.stages] == [1, 2, 3, 4]
    assert not found.plain


def test_dilated_stages_have_the_ranks_of_plain_ones():
    found = trunk(as_backbone(Stages(2, 2, 1, 1)))
    assert sites(found.stages) == ['layer1', 'layer2', 'layer3', 'layer4']
    assert [s.depth for s in found.stages] == [2, 3, 3, 3]
    assert [s.rank for s in found.stages] == [2, 3, 4, 5]


def test_what_is_returned_is_a_stage():
    """Of many blocks at one resolution, as of a dilated MobileNet."""
    strides = 2, 2, 1, 1, 1, 1, 1
    found = trunk(as_backbone(Stages(*strides, returns=(0, 1, 3, 6))))
    assert sites(found.stages) == ['layer1', 'layer2', 'layer4', 'layer7']
    assert [s.rank for s in found.stages] == [2, 3, 4, 5]


def test_a_last_convolution_is_no_further_stage():
    backbone = nn.Sequential(
        Stages(2, 2), nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU()))
    found = trunk(
        as_backbone(nn.Sequential(*backbone[0].children(), backbone[1])))
    assert len(found.blocks) == 3
    assert [s.depth for s in found.stages] == [2, 3]
    assert found.stages[-1].layout.channels == 8


@pytest.mark.parametrize('wraps', [1, 2])
def test_wrapped_backbones_are_descended(wraps):
    backbone = torchvision.models.resnet18()
    backbone.fc = nn.Identity()
    for _ in range(wraps):
        backbone = nn.Sequential(backbone)
    found = trunk(as_backbone(backbone))
    inner = '0.' * wraps
    assert sites(found.stages) == [f'{inner}layer{i}' for i in range(1, 5)]


def test_no_stage_is_taken_for_a_wrapper():
    net = nn.Sequential(conv(3, 4, 2), nn.Sequential(*[conv(4, 4)] * 8))
    assert sites(trunk(net, backbone='').stages) == ['0', '1'][1:]
    net = nn.Sequential(
        conv(3, 4, 2), nn.Sequential(conv(4, 4, 2), *[conv(4, 4)] * 4))
    assert sites(trunk(net, backbone='').stages) == ['0', '1']


def test_without_composite_modules_layers_are_the_blocks():
    found = trunk(torchvision.models.vgg11(init_weights=False), backbone='')
    # The activations before the poolings, and the last pooling.
    assert sites(
        found.stages)[:-1] == [f'features.{i}' for i in (1, 4, 9, 14, 19)]


def test_a_plain_transformer():
    found = trunk(
        torchvision.models.VisionTransformer(32, 8, 6, 2, 16, 32), (32, 32),
        '')
    assert found.plain
    name = 'encoder.layers.encoder_layer_'
    assert sites(found.evenly(3)) == [f'{name}{i}' for i in (1, 3, 5)]
    assert found.stages[-1].layout.extra == 1


class Frames(nn.Module):
    """Encodes both images of a pair in one batch, as RAFT does."""

    def __init__(self):
        super().__init__()
        self.backbone = Frame()

    def forward(self, pair):
        return self.backbone(torch.cat(pair.chunk(2, 1)))


class Frame(nn.Module):

    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())

    def forward(self, images):
        return self.two(self.one(images))


def test_images_of_pairs_are_images():
    for pairs in (1, 3):
        dissection = Dissection(Frames(), torch.rand(pairs, 6, 32, 32),
                                'child', 'backbone')
        assert sites(Trunk(dissection).stages) == ['one', 'two']


def test_no_trunk():
    net = as_backbone(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2)))
    assert trunk(net).blocks == []


class Branches(nn.Module):
    """Returns two features."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 1, s) for s in (1, 2))

    def forward(self, x):
        return [conv(x) for conv in self.convs]


class UpAndDown(nn.Module):
    """Ends with a decoder."""

    def __init__(self):
        super().__init__()
        self.down = conv(3, 4, 2)
        self.branches = Branches()
        self.bottom = conv(4, 4)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), conv(4, 4))

    def forward(self, x):
        return self.up(self.bottom(self.branches(self.down(x))[-1]))


def test_blocks_are_all_outputs_down_to_the_coarsest():
    found = trunk(as_backbone(UpAndDown()), (16, 16))
    assert {
        block.site: block.layout.stride
        for block in found.blocks
    } == {
        'backbone.down': 2,
        'backbone.branches[0]': 2,
        'backbone.branches': 4,
        'backbone.bottom': 4
    }


def torchvision_and_timm():
    """One rounds up, the other down."""
    up = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock,
                                   [1] * 4)
    down = timm.models.ConvNeXt(dims=(4, 4, 8, 8), depths=(1, 1, 1, 1))
    return up, down, [(f'layer{i}', f'stages.{i - 1}') for i in range(1, 5)]


def five_stages_and_four():
    child = MobileNetV2(widen_factor=0.25)
    parent = ConvNeXt(dict(depths=[1] * 4, channels=[4, 4, 8, 8]))
    layers = 'layer2', 'layer3', 'layer5', 'conv2'
    return child, parent, [(layer, f'stages.{i}')
                           for i, layer in enumerate(layers)]


def dilated_and_tokens():
    """Of mmsegmentation."""
    backbones = pytest.importorskip('mmseg.models')
    child = backbones.ResNetV1c(
        depth=18,
        stem_channels=8,
        base_channels=8,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4))
    parent = backbones.MixVisionTransformer(
        embed_dims=4, num_layers=[1] * 4, num_heads=[1] * 4)
    return child, parent, [(f'layer{i}', f'layers.{i - 1}.1.0')
                           for i in range(1, 5)]


@pytest.mark.parametrize(
    'size', [(s, s) for s in SIZES] + [(512, 1024)], ids=str)
@pytest.mark.parametrize(
    'pair', [torchvision_and_timm, five_stages_and_four, dilated_and_tokens])
def test_the_same_stages_at_every_size(pair, size):
    torch.manual_seed(0)
    child, parent, expected = pair()
    found = pair_stages(trunk(child, size, ''), trunk(parent, size, ''))
    assert found == expected
