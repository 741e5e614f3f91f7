# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch

from mmhkt.inheritance import Layout
from mmhkt.inheritance.layout import channels_last, factorise


@pytest.mark.parametrize('shape, size, expected', [
    ((2, 64), (32, 32), Layout('vector', 64)),
    ((2, 8, 4, 6), (32, 48), Layout('map', 8, (4, 6), 0, 8.)),
    ((2, 196, 384), (224, 224), Layout('tokens', 384, (14, 14), 0, 16.)),
    ((2, 197, 192), (224, 224), Layout('tokens', 192, (14, 14), 1, 16.)),
    ((2, 198, 192), (224, 224), Layout('tokens', 192, (14, 14), 2, 16.)),
    ((2, 24, 5), (32, 48), Layout('tokens', 5, (4, 6), 0, 8.)),
    ((2, 25, 5), (64, 96), Layout('tokens', 5, (4, 6), 1, 16.)),
])
def test_layout_of(shape, size, expected):
    assert Layout.of(shape, size) == expected


def test_layout_of_a_torch_size():
    layout = Layout.of(torch.rand(1, 3, 4, 4).shape, (8, 8))
    assert layout.grid == (4, 4) and layout.stride == 2


@pytest.mark.parametrize('one, other, alike', [
    ('map', 'map', True),
    ('tokens', 'tokens', True),
    ('vector', 'map', True),
    ('vector', 'tokens', True),
    ('map', 'tokens', False),
    ('tokens', 'map', False),
])
def test_alike(one, other, alike):
    """Grid and tokens in front do not count."""
    assert Layout(one, 8, (2, 2), 1).alike(Layout(other, 8)) == alike
    assert not Layout(one, 8).alike(Layout(other, 6))


@pytest.mark.parametrize('shape', [(2, ), (2, 3, 4, 5, 6), (2, 15, 8), ()])
def test_shapes_that_are_none_of_the_three(shape):
    with pytest.raises(ValueError) as error:
        Layout.of(shape, (32, 32))
    assert str(shape) in str(error.value)
    assert '32x32' in str(error.value)


@pytest.mark.parametrize('layout, text', [
    (Layout('vector', 64), '64'),
    (Layout('map', 8, (4, 6), 0, 8.), '8x4x6'),
    (Layout('tokens', 5, (4, 6), 0, 8.), '(4x6)x5'),
    (Layout('tokens', 5, (4, 6), 1, 8.), '(1+4x6)x5'),
])
def test_layouts_as_text(layout, text):
    assert str(layout) == text


@pytest.mark.parametrize(
    'count, aspect, expected',
    [
        (196, (224, 224), (14, 14)),
        (24, (2, 3), (4, 6)),
        (24, (3, 2), (6, 4)),
        (24, (1, 1), None),
        (7, (7, 1), (7, 1)),
        # 50 x 70 pixels in patches of 16, rounded up: 4 x 5
        (20, (50, 70), (4, 5)),
        (23, (50, 70), None),
        (0, (1, 1), None),
        (-1, (1, 1), None),
    ])
def test_factorise(count, aspect, expected):
    assert factorise(count, aspect) == expected


@pytest.mark.parametrize('shape, image, declared, expected', [
    ((1, 96, 56, 56), (224, 224), False, False),
    ((1, 56, 56, 96), (224, 224), False, True),
    ((1, 57, 113, 96), (225, 450), False, True),
    ((1, 96, 57, 113), (225, 450), False, False),
    ((1, 96, 96, 96), (384, 384), False, False),
    ((1, 96, 96, 96), (384, 384), True, True),
    ((1, 512, 7, 7), (224, 224), True, False),
    ((1, 49, 768), (224, 224), True, False),
])
def test_channels_last(shape, image, declared, expected):
    assert channels_last(shape, image, declared) == expected
