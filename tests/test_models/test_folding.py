# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from torch import nn

from mmhkt.models import fold_norms
from mmhkt.models.backbones import CIFARResNet


def lively(network):
    """In eval mode, with statistics and affine parameters as if trained."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            if module.track_running_stats:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return network.eval().requires_grad_(False)


def folded(network, keep=()):
    """What is folded, and by how much the output moves."""
    image = torch.randn(2, 3, 16, 16)
    before = network(image)
    paths = fold_norms(network, lambda: network(image), keep)
    torch.testing.assert_close(network(image), before, rtol=1e-4, atol=1e-4)
    return paths


class Whole(nn.Module):

    def __init__(self):
        super().__init__()
        self.backbone = CIFARResNet(20)

    def forward(self, x):
        return self.backbone(x)[-1]


def test_every_norm_of_a_resnet():
    network = lively(Whole())
    norms = [
        name for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    assert sorted(folded(network)) == sorted(norms)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert isinstance(network.get_submodule(norms[0]), nn.Identity)
    assert not any(p.requires_grad for p in network.parameters())


def test_the_arithmetic():
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=1e-12)
    conv.weight.data.fill_(2), conv.bias.data.fill_(3)
    norm.running_mean.fill_(1), norm.running_var.fill_(4)
    norm.weight.data.fill_(6), norm.bias.data.fill_(5)
    network = nn.Sequential(conv, norm).eval()
    image = torch.full((1, 1, 1, 1), 10.0)
    assert fold_norms(network, lambda: network(image)) == ['1']
    # (2 x + 3 - 1) / 2 * 6 + 5
    assert conv.weight.item() == pytest.approx(6)
    assert conv.bias.item() == pytest.approx(11)


class Odd(nn.Module):
    """Norms that are not folded, each for a reason of its own."""

    def __init__(self):
        super().__init__()
        self.before = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.after_relu = nn.BatchNorm2d(3)
        self.shared = nn.Conv2d(3, 3, 1)
        self.one, self.two = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.without_statistics = nn.BatchNorm2d(3, track_running_stats=False)
        self.last = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.after_relu(self.conv(self.before(x)).relu())
        x = self.shared(x)
        x = self.one(x) + self.two(x)
        return self.without_statistics(self.last(x))


def test_what_is_not_a_pair_stays():
    assert folded(lively(Odd())) == []


def test_what_is_read_stays():
    for keep in (['0'], ['1@in']):
        network = lively(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
        assert folded(network, keep) == []
    assert folded(network, ['1', '2']) == ['1']


def test_a_loop_is_folded_once():
    block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
    assert folded(lively(nn.Sequential(block, nn.ReLU(), block))) == ['0.1']


class Unseen(nn.Module):

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) - 2 * x


def test_a_use_that_no_module_shows_is_refused():
    network = lively(Unseen())
    image = torch.randn(2, 3, 8, 8)
    with pytest.raises(ValueError, match='fold_norms changes.*Leave it out'):
        fold_norms(network, lambda: network(image))


def test_what_is_read_of_a_wrapper_stays():
    """The norm is outside of the stage, whose output is the convolution's."""
    network = lively(
        nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)))
    image = torch.randn(2, 3, 8, 8)
    before = network[0](image)
    assert folded(network, keep={'0'}) == []
    assert torch.equal(network[0](image), before)
    assert folded(network) == ['1']


@pytest.mark.parametrize('precision', ['tf32', 'ieee', None])
def test_it_is_checked_with_all_digits(precision):
    conv = torch.backends.cudnn.conv
    network, image = lively(Whole()), torch.randn(2, 3, 16, 16)
    before, seen = conv.fp32_precision, []

    def run():
        seen.append(conv.fp32_precision)
        return network(image)

    try:
        if precision:
            conv.fp32_precision = precision
        now = conv.fp32_precision
        assert fold_norms(network, run)
        assert seen == ['ieee', 'ieee'] and conv.fp32_precision == now
    finally:
        conv.fp32_precision = before
