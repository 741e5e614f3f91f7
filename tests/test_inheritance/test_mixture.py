# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from torch import nn

from mmhkt.inheritance import (GeneticAttention, Layout, Mixture, Site,
                               relative_error)

STATIC = dict(type='mmhkt.GeneticAttention', mode='static', intensity=0.5)


def site(child, parent):
    return Site('backbone.a', 'backbone.b', child, parent)


def test_features_of_one_layout():
    layout = Layout('vector', 2)
    mixture = Mixture(site(layout, layout), STATIC)
    out = mixture(torch.tensor([[1., 2.]]), torch.tensor([[3., 6.]]))
    assert out.tolist() == [[2., 4.]]
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
    m = mixture(q, z)
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
    assert mixture(torch.rand(2, 3), torch.rand(2, 5)).shape == (2, 3)


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
    assert mixture(torch.rand(2, 3), torch.rand(2, 3, 2, 2)).shape == (2, 3)
    with pytest.raises(ValueError, match='"backbone.b" cannot be aligned'):
        Mixture(site(child, parent), STATIC, to_parent=True)


def test_relative_error_by_hand():
    q = torch.tensor([[1., 2.], [3., 4.]], requires_grad=True)
    v = torch.tensor([[1., 0.], [0., 3.]], requires_grad=True)
    error = relative_error(q, v)
    # (0 + 4 + 9 + 1) / (1 + 0 + 0 + 9)
    assert error.item() == pytest.approx(1.4)
    assert relative_error(10 * q, 10 * v).item() == pytest.approx(1.4)
    error.backward()
    assert torch.allclose(q.grad, 2 * (q - v).detach() / 10)
    assert v.grad is None
    assert relative_error(q, torch.zeros(2, 2)).isfinite()


def test_relative_error_is_of_full_precision():
    q = torch.full((1, 2), 1.0, dtype=torch.bfloat16)
    v = torch.full((1, 2), 1.0 + 2**-6, dtype=torch.bfloat16)
    error = relative_error(q, v)
    assert error.dtype == torch.float32
    assert error.item() == pytest.approx((2**-6 / (1 + 2**-6))**2)


def test_hint_is_the_error_in_the_parents_width():
    torch.manual_seed(0)
    child, parent = Layout('map', 4, (2, 2), 0,
                           4.), Layout('map', 6, (4, 4), 0, 2.)
    mixture = Mixture(site(child, parent), STATIC, hinted=True)
    q, z = torch.rand(3, 4, 2, 2), torch.rand(3, 6, 4, 4)
    fitted = mixture.transfer.fitted(z, like=q)
    assert fitted.shape == (3, 6, 2, 2)
    made = torch.einsum('pc,bchw->bphw', mixture.transfer.project.weight, q)
    expected = ((made - fitted)**2).sum() / (fitted**2).sum()
    assert mixture.hint(q, z).item() == pytest.approx(expected.item())
    assert mixture(q, z).shape == q.shape
    assert mixture.transfer.describe() == (
        'resize 4x4 to 2x2, invert regression 6 to 4')
    # Hints alone need no attention.
    alone = Mixture(site(child, parent), STATIC, to_child=False, hinted=True)
    assert alone.attention is None and alone.transfer is not None
