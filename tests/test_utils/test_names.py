# Copyright (c) mmhkt authors. All rights reserved.
import pytest

from mmhkt.utils import few, nearest, one_of, type_name


@pytest.mark.parametrize(
    'name, names, expected',
    [
        ('layer3', ['layer1', 'head', 'layer4'], 'nearest: layer4, layer1'),
        ('gates', ['static', 'gate'], 'nearest: gate'),
        ('xyz', ['static', 'gate'], 'valid: static, gate'),
        ('xyz', [], 'valid: none'),
        # each once, in the order given
        ('xyz', ['b', 'a', 'b'], 'valid: b, a'),
        # any iterable
        ('gates', iter(['static', 'gate']), 'nearest: gate'),
        ('gates', dict(gate=1), 'nearest: gate'),
    ])
def test_nearest(name, names, expected):
    if expected.startswith('nearest: layer'):
        # of equally near names any may come first
        assert sorted(nearest(name, names)[9:].split(', ')) == sorted(
            expected[9:].split(', '))
        return
    assert nearest(name, names) == expected


def test_nearest_lists_at_most():
    layers = [f'layer{i}' for i in range(1, 20)]
    assert len(nearest('layer0', layers)[9:].split(', ')) == 5
    assert len(nearest('layer0', layers, most=1)[9:].split(', ')) == 1
    assert nearest(
        'xyz', layers,
        most=2) == ('valid: layer1, layer2, layer3, layer4, ...')
    assert nearest(
        'xyz', layers[:4], most=2) == ('valid: layer1, layer2, layer3, layer4')


def test_one_of():
    assert one_of('mode', 'gate', ['static', 'gate']) == 'gate'
    assert one_of('mode', 'gate', dict(gate=1)) == 'gate'
    with pytest.raises(ValueError) as error:
        one_of('GeneticAttention mode', 'gates', ['static', 'gate'])
    assert str(error.value) == (
        'GeneticAttention mode "gates" is unknown; nearest: gate.')


@pytest.mark.parametrize('value', [None, 3])
def test_one_of_what_is_no_name(value):
    with pytest.raises(ValueError, match=f'"{value}" is unknown'):
        one_of('mode', value, ['static', 'gate'])


@pytest.mark.parametrize('kind, name', [('ResNet', 'ResNet'),
                                        ('mmpretrain.ResNet', 'ResNet'),
                                        ('timm/resnet18', 'resnet18'),
                                        (dict, 'dict'), ('', '')])
def test_type_name(kind, name):
    assert type_name(dict(type=kind)) == name


@pytest.mark.parametrize('cfg', [{}, None])
def test_type_name_of_what_names_none(cfg):
    assert type_name(cfg) == ''


def test_the_first_few():
    assert few(['a', 'b'], 2) == 'a, b'
    assert few((0, 1, 2), 2) == '0, 1, ...'
    assert few((), 2) == ''
