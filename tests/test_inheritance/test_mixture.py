# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from torch import nn

from mmhkt.inheritance import GeneticAttention, Layout, Mixture, Site

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
