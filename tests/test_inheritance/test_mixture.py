# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from torch import nn

from mmhkt.inheritance import (GeneticAttention, Layout, Mixture, Regression,
                               Site)

STATIC = dict(type='mmhkt.GeneticAttention', mode='static', intensity=0.5)


def site(child, parent):
    return Site('backbone.a', 'backbone.b', child, parent)


def test_features_of_one_layout():
    layout = Layout('vector', 2)
    mixture = Mixture(site(layout, layout), STATIC)
    out, hint = mixture(torch.tensor([[1., 2.]]), torch.tensor([[3., 6.]]))
    assert out.tolist() == [[2., 4.]]
    assert hint is None and mixture.regression is None
    assert mixture.back is None
    assert not list(mixture.parameters())


def test_transfer_then_attention_and_back():
    child = Layout('map', 1, (1, 1), 0, 4.)
    parent = Layout('map', 2, (2, 2), 0, 2.)
    mixture = Mixture(site(child, parent), STATIC, to_parent=True)
    nn.init.constant_(mixture.transfer.project.weight, 2.)
    nn.init.constant_(mixture.back.project.weight[0], 1.)
    nn.init.constant_(mixture.back.project.weight[1], -3.)
    q = torch.full((1, 1, 1, 1), 4.)
    z = torch.arange(8.).view(1, 2, 2, 2)
    # means 1.5 and 5.5, projected 2 * 7 = 14; half way from 4 is 9
    m, _ = mixture(q, z)
    assert m.flatten().tolist() == [9.]
    back = mixture.in_parent(m, z)
    assert back[0, 0].tolist() == [[9., 9.], [9., 9.]]
    assert back[0, 1].tolist() == [[-27., -27.], [-27., -27.]]


def test_the_attention_gets_the_childs_channels():
    child, parent = Layout('vector', 3), Layout('vector', 5)
    mixture = Mixture(
        site(child, parent),
        dict(type='mmhkt.GeneticAttention', mode='learnable'))
    assert isinstance(mixture.attention, GeneticAttention)
    assert mixture.attention.query.weight.shape == (3, 3)
    assert mixture(torch.rand(2, 3), torch.rand(2, 5))[0].shape == (2, 3)


def test_what_cannot_be_aligned_names_the_site():
    child, parent = Layout('map', 3, (2, 2), 0, 2.), Layout('vector', 5)
    with pytest.raises(ValueError) as error:
        Mixture(site(child, parent), STATIC)
    for word in ('"backbone.a"', '"backbone.b"', 'cannot be aligned',
                 'before pooling'):
        assert word in str(error.value)


def test_a_pooled_mixture_cannot_go_back_to_a_map():
    """It can be mixed, but not be judged by the parent's head there."""
    child, parent = Layout('vector', 3), Layout('map', 3, (2, 2), 0, 2.)
    mixture = Mixture(site(child, parent), STATIC)
    mixed, _ = mixture(torch.rand(2, 3), torch.rand(2, 3, 2, 2))
    assert mixed.shape == (2, 3)
    with pytest.raises(ValueError, match='"backbone.b" cannot be aligned'):
        Mixture(site(child, parent), STATIC, to_parent=True)


def test_the_hint_of_one_width_by_hand():
    layout = Layout('vector', 2)
    mixture = Mixture(site(layout, layout), STATIC, hinted=True)
    q = torch.tensor([[1., 2.], [3., 4.]], requires_grad=True)
    z = torch.tensor([[1., 0.], [0., 3.]], requires_grad=True)
    m, hint = mixture(q, z)
    assert torch.equal(m, (q + z) / 2)
    # (0 + 4 + 9 + 1) / (1 + 0 + 0 + 9)
    assert hint.item() == pytest.approx(1.4)
    hint.backward()
    assert torch.allclose(q.grad, 2 * (q - z).detach() / 10)
    assert z.grad is None
    # The parent's power is a running mean, of 5 and 0 here.
    zeros = mixture(q, torch.zeros(2, 2))[1]
    assert zeros.item() == pytest.approx(15 / (5 * 0.09 / 0.19))
    assert not list(mixture.parameters())


def hinted(**kwargs):
    child = Layout('map', 4, (2, 2), 0, 4.)
    parent = Layout('map', 6, (4, 4), 0, 2.)
    return Mixture(site(child, parent), STATIC, hinted=True, **kwargs)


def features(seed=0):
    gen = torch.Generator().manual_seed(seed)
    return torch.rand(
        3, 4, 2, 2, generator=gen), torch.rand(
            3, 6, 4, 4, generator=gen)


def test_the_hint_is_the_error_in_the_parents_width():
    mixture = hinted()
    regression = Regression(4, 6, dim=1)
    for i in range(3):
        q, z = features(i)
        fitted = mixture.transfer.fitted(z, like=q)
        assert fitted.shape == (3, 6, 2, 2)
        v, expected = regression(q, fitted)
        m, hint = mixture(q, z)
        assert hint.item() == expected.item()
        assert torch.allclose(m, q + 0.5 * (v - q))
        assert m.shape == q.shape
    assert mixture.transfer.describe() == (
        'resize 4x4 to 2x2, invert regression 6 to 4')
    assert not list(mixture.parameters())


def test_a_map_and_tokens_of_equal_width_are_not_compared_as_they_are():
    """They are of two families: what stands in a channel of one stands
    anywhere in the other."""
    child = Layout('map', 4, (2, 2), 0, 4.)
    mixture = Mixture(
        site(child, Layout('tokens', 4, (2, 2), 0, 4.)), STATIC, hinted=True)
    q, _ = features()
    turned = torch.linalg.qr(
        torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    z = q.flatten(2).transpose(1, 2) @ turned
    m, hint = mixture(q, z)
    assert hint < 0.01
    assert torch.allclose(m, q, atol=0.05)  # the inverse turns it back
    assert mixture.transfer.describe() == (
        'tokens to map, invert regression 4 to 4')
    alike = Mixture(site(child, child), STATIC, hinted=True)
    assert alike(q, mixture.transfer.fitted(z, like=q))[1] > 0.1


def test_the_first_hint_by_hand():
    mixture = hinted()
    q, z = features()
    fitted = mixture.transfer.fitted(z, like=q)
    x, y = (f.movedim(1, -1).flatten(0, -2).double() for f in (q, fitted))
    square = x.T @ x
    ridge = 1e-3 * square.diagonal().mean() * torch.eye(4)
    r = torch.linalg.solve(square + ridge, x.T @ y)
    expected = ((x @ r - y)**2).sum() / (y**2).sum()
    assert mixture(q, z)[1].item() == pytest.approx(expected.item(), rel=1e-5)


def test_tokens_are_regressed_along_their_last_axis():
    child = Layout('tokens', 4, (2, 2), 1, 4.)
    parent = Layout('map', 6, (4, 4), 0, 2.)
    mixture = Mixture(site(child, parent), STATIC, hinted=True)
    m, hint = mixture(torch.rand(3, 5, 4), torch.rand(3, 6, 4, 4))
    assert m.shape == (3, 5, 4) and 0 < hint < 1


def test_hints_alone_need_no_attention():
    alone = hinted(to_child=False)
    assert alone.attention is None and alone.transfer is not None
    assert alone.weaned
    q, z = features()
    m, hint = alone(q, z)
    # What is not mixed is the child's own, and is not computed.
    assert m is q and hint.item() == hinted()(q, z)[1].item()


def test_a_hint_that_is_not_wanted_now():
    """The regression learns on, as long as something is mixed by it."""
    one, other = hinted(), hinted()
    for i in range(2):
        q, z = features(i)
        m, hint = one(q, z, hint=False)
        expected, _ = other(q, z)
        assert hint is None and torch.equal(m, expected)
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.regression.buffers(), other.regression.buffers()))


def test_weaned_it_is_the_childs_own_feature():
    mixture = hinted()
    before = mixture(*features())[1]
    q, z = features(1)
    mixture.attention.factor = 0.
    assert mixture.weaned
    m, hint = mixture(q, z)
    assert m is q and hint is not None and before is not None
    rows = mixture.regression.rows.clone()
    # Nothing is asked for, and nothing computed: not even looked at.
    m, hint = mixture(q, None, hint=False)
    assert m is q and hint is None
    assert torch.equal(mixture.regression.rows, rows)


def test_weaned_infinities_of_the_parent_do_no_harm():
    """0 times inf would be NaN."""
    layout = Layout('vector', 3)
    mixture = Mixture(site(layout, layout), {**STATIC, 'intensity': 0.})
    q = torch.rand(2, 3)
    assert mixture(q, torch.full((2, 3), torch.inf))[0] is q


@pytest.mark.parametrize('scale', ['channel', 'norm'])
def test_what_is_mixed_is_scaled(scale):
    mixture = hinted(scale=scale)
    regression = Regression(4, 6, dim=1)
    q, z = features()
    v, expected = regression(q, mixture.transfer.fitted(z, like=q))
    m, hint = mixture(q, z)
    assert torch.allclose(m, q + 0.5 * (mixture.transfer.scaled(v, q) - q))
    # The hint needs no scale.
    assert hint.item() == expected.item()
