# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from mmhkt.models.backbones import WideResNet
from mmhkt.models.backbones.wide_resnet import PreActBlock


@pytest.mark.parametrize('depth, widen_factor, expected', [
    (16, 2, 703284),
    (40, 1, 569780),
    (40, 2, 2255156),
])
def test_published_parameter_counts(depth, widen_factor, expected):
    net = WideResNet(depth, widen_factor)
    own = sum(p.numel() for p in net.parameters())
    assert own + (64 * widen_factor + 1) * 100 == expected


@pytest.mark.parametrize('size', [32, 8])
def test_maps(size):
    net = WideResNet(10, 1, out_indices=(0, 1, 2))
    outs = net(torch.rand(2, 3, size, size))
    assert [tuple(out.shape) for out in outs] == [
        (2, 16, size, size),
        (2, 32, size // 2, size // 2),
        (2, 64, size // 4, size // 4),
    ]
    # only the last map has passed a ReLU
    assert [bool(out.min() < 0) for out in outs] == [True, True, False]
    sum(out.sum() for out in outs).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_block_by_hand():
    """With zero convolutions, a block hands on its shortcut alone."""
    x = torch.randn(1, 2, 4, 4)
    same = PreActBlock(2, 2).eval()
    torch.nn.init.zeros_(same.conv2.weight)
    assert torch.equal(same(x), x)

    other = PreActBlock(2, 1, stride=2).eval()
    torch.nn.init.zeros_(other.conv2.weight)
    other.bn1.eps = 1e-12
    other.downsample.weight.data = torch.tensor([1., 10.]).view(1, 2, 1, 1)
    kept = x.relu()[:, :, ::2, ::2]
    torch.testing.assert_close(other(x), kept[:, :1] + 10 * kept[:, 1:])


def test_frozen_stages_and_norm_eval():
    net = WideResNet(10, 1, frozen_stages=2).train()
    frozen = {n.split('.')[0] for n, p in net.named_parameters()
              if not p.requires_grad}  # yapf: disable
    assert frozen == {'conv1', 'layer1', 'layer2'}
    assert not net.layer1.training and net.layer3.training
    assert not WideResNet(10, 1, norm_eval=True).train().bn1.training


@pytest.mark.parametrize('kwargs, words', [
    (dict(depth=20), ['depth of WideResNet', '6n + 4', '20', '16 or 22']),
    (dict(widen_factor=0), ['widen_factor', '0']),
    (dict(widen_factor=1.5), ['widen_factor', '1.5']),
])
def test_bad_settings(kwargs, words):
    with pytest.raises(ValueError) as error:
        WideResNet(**kwargs)
    for word in words:
        assert word in str(error.value)


def test_built_from_the_scope_of_mmpretrain():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        net = MMPRETRAIN_MODELS.build(
            dict(type='mmhkt.WideResNet', depth=10, widen_factor=1))
    assert isinstance(net, WideResNet)
