# Copyright (c) mmhkt authors. All rights reserved.
from collections import namedtuple

import pytest
import torch

from mmhkt.inheritance.outputs import features, given, names, pick, put

A, B = torch.zeros(1), torch.ones(1)
INDEX = torch.tensor([1])
Pair = namedtuple('Pair', 'x y')


@pytest.mark.parametrize(
    'output, expected',
    [
        (A, [A]),
        ((A, B), [A, B]),
        ([A, B], [A, B]),
        # sizes, indices and nothing are no features
        ((A, (4, 4)), [A]),
        ((INDEX, A, None), [A]),
        (dict(x=A), [A]),
        # nested, in the order in which they stand there
        (((A, B), [INDEX]), [A, B]),
        ([dict(x=A, y=dict(z=B)), None], [A, B]),
        (Pair(A, (B, )), [A, B]),
        (None, []),
        ((), []),
    ])
def test_features(output, expected):
    found = features(output)
    assert len(found) == len(expected)
    assert all(f is e for f, e in zip(found, expected))


@pytest.mark.parametrize('index, expected', [(None, B), (0, A), (-1, B),
                                             (-2, A), (1, B)])
def test_pick(index, expected):
    assert pick((A, INDEX, B, (3, 3)), index) is expected


@pytest.mark.parametrize(
    'output, expected',
    [
        (((B, A), ), B),  # class and distillation token
        ((A, (B, A)), B),
        (dict(x=B, y=A), B),
        ([A, dict(x=B, y=A)], B),
        ((A, B, ()), B),
    ])
def test_the_main_feature(output, expected):
    assert pick(output) is expected


def test_names():
    assert names(dict(a=A, b=dict(c=B,
                                  d=[A,
                                     B]))) == ['a', 'b.c', 'b.d.0', 'b.d.1']
    assert names((A, INDEX, B)) == ['0', '2'] and names(A) == ['0']


def test_put_into_what_is_nested():
    output = dict(x=A, y=(A, Pair(A, A)))
    found = put(output, B, 2)
    assert found['y'][1].x is B and found['y'][1].y is A
    assert output['y'][1].x is A


def test_what_is_given_first():
    assert given((INDEX, (A, B)), dict(z=A)) == [B]
    assert given((), dict(x=None, y=A)) == [A]
    assert given((3, ), {}) == []


@pytest.mark.parametrize('index, place', [(None, 2), (0, 0), (-2, 0), (1, 2)])
@pytest.mark.parametrize('kind', [tuple, list])
def test_put_where_pick_finds(kind, index, place):
    output = kind([A, INDEX, B, (3, 3)])
    new = torch.full((1, ), 9.)
    found = put(output, new, index)
    assert type(found) is kind
    for i, (now, before) in enumerate(zip(found, output)):
        expected = new if i == place else before
        assert now is expected or now == expected == (3, 3)
    # what was put in is a copy
    assert output[place] is not new
    assert pick(found, index) is new


def test_put_in_a_tensors_place():
    assert put(A, B) is B
