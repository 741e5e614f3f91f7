# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
import torch
from torch import nn

from mmhkt.inheritance import Layout, Transfer
from mmhkt.inheritance.transfer import resize

VECTOR = Layout('vector', 4)
MAP = Layout('map', 4, (2, 4), 0, 8.)
TOKENS = Layout('tokens', 4, (2, 4), 0, 8.)
CLASS_TOKENS = Layout('tokens', 4, (2, 4), 1, 8.)
LAYOUTS = dict(vector=VECTOR, map=MAP, tokens=TOKENS, cls=CLASS_TOKENS)


def wide(layout, channels):
    return Layout(layout.kind, channels, layout.grid, layout.extra,
                  layout.stride)


def feature(layout, grid=None, batch=2):
    """A random feature of a layout."""
    rows, columns = grid or layout.grid or (1, 1)
    shape = dict(
        vector=(batch, layout.channels),
        map=(batch, layout.channels, rows, columns),
        tokens=(batch, layout.extra + rows * columns, layout.channels))
    return torch.rand(shape[layout.kind])


def count(transfer):
    return sum(p.numel() for p in transfer.parameters())


# ------------------------------------------------------- all pairs of kinds


@pytest.mark.parametrize('grid', [None, (4, 8), (1, 2)])
@pytest.mark.parametrize('target', LAYOUTS)
@pytest.mark.parametrize('source', LAYOUTS)
def test_shapes_of_all_pairs(source, target, grid):
    """Also with images of another size than in the dry run."""
    source, target = LAYOUTS[source], wide(LAYOUTS[target], 6)
    if source.kind == 'vector' and target.kind != 'vector':
        with pytest.raises(ValueError) as error:
            Transfer(source, target)
        for word in ('pooled vector (4)', target.kind, str(target),
                     'before pooling'):
            assert word in str(error.value)
        return
    transfer = Transfer(source, target)
    like = feature(target, grid)
    out = transfer(feature(source, grid).requires_grad_(), like)
    assert out.shape == like.shape
    out.sum().backward()
    assert count(transfer) == 4 * 6
    assert transfer.project.weight.grad is not None


@pytest.mark.parametrize('layout', LAYOUTS.values())
def test_identity_has_no_parameters(layout):
    transfer = Transfer(layout, layout)
    z = feature(layout)
    assert torch.equal(transfer(z, like=z), z)
    assert count(transfer) == 0 and not transfer.state_dict()
    assert transfer.describe() == 'none'


def test_vector_to_vector_is_a_projection():
    transfer = Transfer(Layout('vector', 2), Layout('vector', 3))
    assert isinstance(transfer.project, nn.Linear)
    with torch.no_grad():
        transfer.project.weight.copy_(
            torch.tensor([[1., 0.], [0., 2.], [1., -1.]]))
    out = transfer(torch.tensor([[3., 5.]]), torch.zeros(1, 3))
    assert out.tolist() == [[3., 10., -2.]]


# a map of one channel with rows 0 1 2 3 and 4 5 6 7, and what it becomes
ROWS = torch.arange(8.).view(1, 1, 2, 4)
ONE = Layout('map', 1, (2, 4), 0, 8.)
ONE_TOKENS = Layout('tokens', 1, (2, 4), 0, 8.)
ONE_CLASS = Layout('tokens', 1, (2, 4), 1, 8.)
AS_TOKENS = ROWS.flatten(2).transpose(1, 2)
WITH_CLASS = torch.cat([torch.full((1, 1, 1), 50.), AS_TOKENS], 1)


@pytest.mark.parametrize(
    'source, target, z, expected',
    [
        # map -> vector: the mean over positions
        (ONE, Layout('vector', 1), ROWS, [[3.5]]),
        # tokens -> vector: the mean, or the class token where there is one
        (ONE_TOKENS, Layout('vector', 1), AS_TOKENS, [[3.5]]),
        (ONE_CLASS, Layout('vector', 1), WITH_CLASS, [[50.]]),
        # map -> map: means when it shrinks
        (ONE, Layout('map', 1, (1, 2), 0, 16.), ROWS, [[[[2.5, 4.5]]]]),
        # map -> tokens: row by row, and the mean as class token
        (ONE, ONE_TOKENS, ROWS, [[[i] for i in range(8)]]),
        (ONE, ONE_CLASS, ROWS, [[[3.5]] + [[i] for i in range(8)]]),
        # tokens -> map: the class token is left out
        (ONE_TOKENS, ONE, AS_TOKENS, ROWS.tolist()),
        (ONE_CLASS, ONE, WITH_CLASS, ROWS.tolist()),
        # tokens -> tokens: class token to class token
        (ONE_CLASS, ONE_TOKENS, WITH_CLASS, AS_TOKENS.tolist()),
        (ONE_TOKENS, ONE_CLASS, AS_TOKENS, [[[3.5]] + [[i]
                                                       for i in range(8)]]),
        (ONE_CLASS, Layout('tokens', 1, (1, 2), 1,
                           16.), WITH_CLASS, [[[50.], [2.5], [4.5]]]),
        # one class token for two: it stands for both
        (ONE_CLASS, Layout('tokens', 1,
                           (1, 2), 2, 16.), WITH_CLASS, [[[50.], [50.], [2.5],
                                                          [4.5]]]),
    ])
def test_by_hand(source, target, z, expected):
    expected = torch.tensor(expected)
    transfer = Transfer(source, target)
    out = transfer(z, like=torch.zeros_like(expected))
    assert torch.equal(out, expected)
    assert count(transfer) == 0


def test_two_tokens_in_front_for_one():
    source = Layout('tokens', 1, (2, 4), 2, 8.)
    z = torch.cat([torch.full((1, 1, 1), 9.), WITH_CLASS], 1)
    out = Transfer(source, ONE_CLASS)(z, torch.zeros(1, 9, 1))
    assert out[0, :, 0].tolist() == [9.] + list(range(8))


def test_projection_of_maps_is_one_by_one_and_bias_free():
    transfer = Transfer(ONE, wide(ONE, 2))
    assert isinstance(transfer.project, nn.Conv2d)
    assert list(transfer.state_dict()) == ['project.weight']
    nn.init.constant_(transfer.project.weight[0], 2.)
    nn.init.constant_(transfer.project.weight[1], -1.)
    out = transfer(ROWS, torch.zeros(1, 2, 2, 4))
    assert torch.equal(out, torch.cat([2 * ROWS, -ROWS], 1))


def test_projection_of_tokens_is_that_of_maps():
    """Map to tokens, resized and projected, by hand."""
    target = Layout('tokens', 6, (1, 2), 1, 16.)
    transfer = Transfer(MAP, target)
    z = feature(MAP)
    out = transfer(z, feature(target))
    weight = transfer.project.weight
    for column in (0, 1):
        patch = z[:, :, :, 2 * column:2 * column + 2].mean((2, 3))
        assert torch.allclose(out[:, 1 + column], patch @ weight.T, atol=1e-6)
    assert torch.allclose(out[:, 0], z.mean((2, 3)) @ weight.T, atol=1e-6)


def test_images_of_another_size_than_in_the_dry_run():
    """Tokens keep their neighbours when the grid has grown."""
    grown = torch.rand(1, 1, 6, 12)
    tokens = grown.flatten(2).transpose(1, 2)
    out = Transfer(ONE_TOKENS, ONE)(tokens, torch.zeros(1, 1, 6, 12))
    assert torch.equal(out, grown)
    out = Transfer(ONE, ONE_TOKENS)(grown, torch.zeros(1, 72, 1))
    assert torch.equal(out, tokens)


def test_images_of_another_aspect_ratio():
    square = torch.zeros(1, 25, 1)
    with pytest.raises(ValueError, match='25 patch tokens.*2x4'):
        Transfer(ONE_TOKENS, ONE)(square, torch.zeros(1, 1, 5, 5))
    # maps know their own size
    out = Transfer(ONE, ONE)(torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 5, 5))
    assert out.shape == (1, 1, 5, 5)


# ------------------------------------------------------------------- resize


def test_resize_to_the_same_size_is_the_same():
    assert resize(ROWS, [2, 4]) is ROWS


def test_resize_larger_is_bilinear():
    out = resize(torch.tensor([[[[0., 4.]]]]), (1, 4))
    assert out.flatten().tolist() == [0., 1., 3., 4.]


def test_resize_larger_and_smaller():
    assert resize(ROWS, (4, 2)).shape == (1, 1, 4, 2)


def test_resize_smaller_loses_nothing():
    """Every position enters, which bilinear sampling would not do."""
    z = torch.zeros(1, 1, 8, 8)
    z[..., 0, 0] = 16.
    assert resize(z, (2, 2)).flatten().tolist() == [1., 0., 0., 0.]


# ----------------------------------------------------------------- describe


@pytest.mark.parametrize('source, target, text', [
    (VECTOR, wide(VECTOR, 8), 'project 4 to 8'),
    (MAP, VECTOR, 'map to vector'),
    (MAP, Layout('map', 4, (1, 2), 0, 16.), 'resize 2x4 to 1x2'),
    (MAP, Layout('tokens', 6, (1, 2), 1,
                 16.), 'map to tokens, resize 2x4 to 1x2, project 4 to 6'),
    (TOKENS, MAP, 'tokens to map'),
])
def test_describe(source, target, text):
    assert Transfer(source, target).describe() == text


# -------------------------------------------------------------------- scale


@pytest.mark.parametrize('name', ['vector', 'map', 'tokens'])
def test_scale_of_each_channel(name):
    """Mean and deviation of every channel become those of the other."""
    layout = LAYOUTS[name]
    z, like = feature(layout, batch=8), 5 * feature(layout, batch=8) + 1
    out = Transfer(layout, layout, scale='channel')(z, like)
    axis = (0, 2, 3) if name == 'map' else tuple(range(like.dim() - 1))
    found, goal = out.numpy(), like.numpy()
    np.testing.assert_allclose(found.mean(axis), goal.mean(axis), rtol=1e-5)
    np.testing.assert_allclose(found.std(axis), goal.std(axis), rtol=1e-3)
    # The order within a channel stays.
    flat = z.movedim(1, -1) if name == 'map' else z
    found = out.movedim(1, -1) if name == 'map' else out
    assert torch.equal(
        flat.reshape(-1, 4).argsort(0),
        found.reshape(-1, 4).argsort(0))


def test_scale_of_each_channel_by_hand():
    z = torch.tensor([[0., 7.], [2., 7.]])
    like = torch.tensor([[10., 1.], [16., 3.]])
    out = Transfer(Layout('vector', 2), Layout('vector', 2), 'channel')(z,
                                                                        like)
    # A channel that says nothing becomes the other's mean.
    assert torch.allclose(out, torch.tensor([[10., 2.], [16., 2.]]), atol=1e-3)


@pytest.mark.parametrize('name', ['vector', 'map', 'cls'])
def test_scale_of_each_sample(name):
    layout = LAYOUTS[name]
    z, like = feature(layout), 3 * feature(layout)
    like[1] = 0
    out = Transfer(layout, layout, scale='norm')(z, like)
    assert out[0].norm().item() == pytest.approx(like[0].norm().item(), 1e-4)
    assert torch.allclose(out[0] / out[0].norm(), z[0] / z[0].norm())
    assert not out[1].any()


@pytest.mark.parametrize('scale', ['channel', 'norm'])
def test_what_gives_the_scale_gets_no_gradient(scale):
    layout = Layout('map', 4, (2, 2))
    z, like = (feature(layout).requires_grad_() for _ in range(2))
    transfer = Transfer(layout, layout, scale)
    (transfer(z, like) * torch.rand_like(z)).sum().backward()
    assert like.grad is None and z.grad.abs().sum() > 0
    assert transfer.describe().startswith('scale of each ')


def test_unknown_scale():
    with pytest.raises(ValueError, match='"chanel".*nearest: channel'):
        Transfer(VECTOR, VECTOR, scale='chanel')


# -------------------------------------------------------------------- parts


@pytest.mark.parametrize('scale', ['none', 'channel', 'norm'])
@pytest.mark.parametrize('name', ['vector', 'map', 'tokens', 'cls'])
def test_its_three_parts_are_the_whole(name, scale):
    target = wide(LAYOUTS[name], 6)
    transfer = Transfer(MAP, target, scale)
    z, like = feature(MAP), feature(target)
    fitted = transfer.fitted(z, like)
    axis = 1 if name in ('vector', 'map') else -1
    assert fitted.shape[axis] == 4 and not fitted.requires_grad
    assert torch.equal(
        transfer.scaled(transfer.project(fitted), like), transfer(z, like))


def test_without_a_projection_nothing_is_learned():
    transfer = Transfer(MAP, wide(TOKENS, 6), project=False)
    assert count(transfer) == 0 and not transfer.state_dict()
    assert transfer.describe() == 'map to tokens, invert regression 4 to 6'
    z = feature(MAP)
    fitted = transfer.fitted(z, feature(wide(TOKENS, 6)))
    assert torch.equal(fitted, z.flatten(2).transpose(1, 2))
    # Of equal widths none is lacking, but between two families.
    assert Transfer(MAP, MAP, project=False).describe() == 'none'
    assert Transfer(MAP, TOKENS).describe() == 'map to tokens'
    assert Transfer(
        MAP, TOKENS, project=False).describe() == (
            'map to tokens, invert regression 4 to 4')
