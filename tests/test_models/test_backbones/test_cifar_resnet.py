# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from mmhkt.models.backbones import CIFARResNet
from mmhkt.models.backbones.cifar_resnet import PadShortcut

X4 = (32, 64, 128, 256)


def num_params(backbone, channels, num_classes):
    """Parameters together with those of a linear classifier."""
    own = sum(p.numel() for p in backbone.parameters())
    return own + (channels + 1) * num_classes


def classifier(**kwargs):
    return dict(
        type='ImageClassifier',
        backbone=dict(type='mmhkt.CIFARResNet', **kwargs),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=64))


@pytest.mark.parametrize('kwargs, num_classes, expected', [
    (dict(depth=20), 10, 269722),
    (dict(depth=56), 10, 853018),
    (dict(depth=8, widths=X4, shortcut='B'), 100, 1233540),
    (dict(depth=32, widths=X4, shortcut='B'), 100, 7433860),
])
def test_published_parameter_counts(kwargs, num_classes, expected):
    net = CIFARResNet(**kwargs)
    last = kwargs.get('widths', (64, ))[-1]
    assert num_params(net, last, num_classes) == expected


def test_parameter_count_by_hand():
    net = CIFARResNet(depth=8, widths=(2, 3, 4, 5), shortcut='B')
    convs = 9 * (3 * 2 + 2 * 3 + 3 * 3 + 3 * 4 + 4 * 4 + 4 * 5 + 5 * 5)
    shortcuts = 2 * 3 + 3 * 4 + 4 * 5
    norms = 2 * (2 + 3 * 3 + 3 * 4 + 3 * 5)
    own = sum(p.numel() for p in net.parameters())
    assert own == convs + shortcuts + norms


@pytest.mark.parametrize('shortcut', ['A', 'B'])
@pytest.mark.parametrize('size', [32, 8])
def test_maps(shortcut, size):
    net = CIFARResNet(
        depth=8,
        widths=(4, 4, 8, 16),
        shortcut=shortcut,
        out_indices=(0, 1, 2))
    outs = net(torch.rand(2, 3, size, size))
    assert [tuple(out.shape) for out in outs] == [
        (2, 4, size, size),
        (2, 8, size // 2, size // 2),
        (2, 16, size // 4, size // 4),
    ]
    sum(out.sum() for out in outs).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_default_output_is_the_last_stage_called_as_a_module():
    net = CIFARResNet(depth=14)
    seen = []
    net.layer3.register_forward_hook(lambda *args: seen.append(args[2]))
    outs = net(torch.rand(1, 3, 32, 32))
    assert len(outs) == 1 and outs[0] is seen[0]
    assert len(net.layer1) == len(net.layer2) == len(net.layer3) == 2


def test_hooks_see_maps_that_nobody_overwrites():
    net = CIFARResNet(depth=8)
    seen = {}
    net.layer1[0].bn1.register_forward_hook(
        lambda module, args, out: seen.update(map=out, value=out.clone()))
    net(torch.rand(1, 3, 8, 8))
    assert torch.equal(seen['map'], seen['value']) and seen['map'].min() < 0


def test_pad_shortcut_by_hand():
    x = torch.arange(16.).reshape(1, 1, 4, 4)
    out = PadShortcut(1, 4, 2)(x)
    kept = torch.tensor([[0., 2.], [8., 10.]])
    zeros = torch.zeros(2, 2)
    # three channels more: one before, two after
    assert torch.equal(out[0], torch.stack([zeros, kept, zeros, zeros]))


def test_pad_shortcut_within_the_net():
    net = CIFARResNet(depth=8, widths=(4, 4, 8, 16)).eval()
    block = net.layer2[0]
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.rand(1, 4, 8, 8)
    # the branch adds nothing: bn2 of zeros is zero
    out = block(x)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert out[:, :2].abs().max() == out[:, 6:].abs().max() == 0


def test_stem_of_another_width_takes_the_shortcut_too():
    net = CIFARResNet(depth=8, widths=(4, 6, 8, 16), shortcut='A')
    assert net(torch.rand(1, 3, 8, 8))[0].shape == (1, 16, 2, 2)
    assert isinstance(net.layer1[0].downsample, PadShortcut)


def test_frozen_stages_and_norm_eval():
    net = CIFARResNet(depth=14, frozen_stages=1).train()
    frozen = {n.split('.')[0] for n, p in net.named_parameters()
              if not p.requires_grad}  # yapf: disable
    assert frozen == {'conv1', 'bn1', 'layer1'}
    assert not net.layer1[0].bn1.training and net.layer2[0].bn1.training

    net = CIFARResNet(depth=8, norm_eval=True).train()
    assert net.training and net.layer3.training
    assert not any(m.training for m in net.modules()
                   if isinstance(m, torch.nn.BatchNorm2d))


@pytest.mark.parametrize('kwargs, words', [
    (dict(depth=18), ['depth of CIFARResNet', '6n + 2', '18', '14 or 20']),
    (dict(depth=2), ['depth', 'nearest: 8']),
    (dict(depth='20'), ['depth', "'20'"]),
    (dict(shortcut='C'), ['shortcut', "'A'", "'B'", "'C'"]),
    (dict(widths=(16, 32, 64)), ['widths', '4 positive', '(16, 32, 64)']),
    (dict(widths=(16, 16, 8, 4)), ['widths', "shortcut='B'"]),
    (dict(out_indices=(3, )), ['out_indices', '0, 1 and 2', '(3,)']),
    (dict(out_indices=()), ['out_indices']),
    (dict(frozen_stages=4), ['frozen_stages', '-1', '3', '4']),
])
def test_bad_settings(kwargs, words):
    with pytest.raises(ValueError) as error:
        CIFARResNet(**kwargs)
    for word in words:
        assert word in str(error.value)


def test_built_from_the_scope_of_mmpretrain():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MMPRETRAIN_MODELS.build(classifier(depth=8))
    model.init_weights()
    assert isinstance(model.backbone, CIFARResNet)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    weight = model.backbone.layer1[0].conv1.weight
    # Kaiming with fan-out: variance 2 / (16 * 9)
    assert weight.std().item() == pytest.approx((2 / 144)**.5, rel=0.1)


@pytest.mark.parametrize('depth, name, right', [
    (20, 'resnet20-12fca82f.th', 0.9173),
    (56, 'resnet56-4bfd9763.th', 0.9339),
])
def test_published_weights(shared_data, cifar10_npz, depth, name, right):
    """Published weights load without a key left over and classify images."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MMPRETRAIN_MODELS.build(classifier(depth=depth)).eval()
    load_checkpoint(
        model,
        str(shared_data / 'checkpoints' / name),
        map_location='cpu',
        strict=True,
        revise_keys=[(r'^module\.linear', 'head.fc'),
                     (r'^module\.', 'backbone.')])
    with np.load(cifar10_npz) as data:
        images = torch.from_numpy(data['test_images'][:500])
        labels = torch.from_numpy(data['test_labels'][:500]).long()
    mean = torch.tensor([.485, .456, .406]).view(3, 1, 1)
    std = torch.tensor([.229, .224, .225]).view(3, 1, 1)
    images = (images.permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        found = model(images).argmax(1)
    # 500 images say the share to about three points
    assert (found == labels).float().mean() == pytest.approx(right, abs=0.03)
