# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch

from mmhkt.models.gradient_shares import gradient_shares


def test_shares_by_hand():
    weight = torch.ones(2, requires_grad=True)
    first, second = 2 * weight, 3 * weight
    terms = dict(
        # Gradients at first: (3, 0) and (0, 4); at second: none and (5, 12)
        task=3 * first[0],
        hint=4 * first[1] + 5 * second[0] + 12 * second[1],
        fixed=torch.tensor(7.))
    found = gradient_shares(terms, dict(one=[first], other=[second]))
    assert found == {
        'task.one': pytest.approx(3 / 7),
        'hint.one': pytest.approx(4 / 7),
        'hint.other': 1.0
    }
    assert weight.grad is None
    # The graph is still there.
    sum(terms.values()).backward()
    assert weight.grad.tolist() == [6 + 15, 8 + 36]


def test_passes_of_one_site_are_added_up():
    weight = torch.ones(2, requires_grad=True)
    own, mixed = 1 * weight, 1 * weight
    terms = dict(
        task=own.sum() - mixed.sum(),
        hint=own[0] + 2 * mixed[0],
        gone=weight.sum())
    # Of the task they cancel; the hint is (1 + 2, 0); gone does not pass here.
    found = gradient_shares(terms, dict(one=[own, mixed]))
    assert found == {'task.one': 0.0, 'hint.one': 1.0}


def test_nothing_to_measure():
    frozen = torch.ones(2)
    assert gradient_shares(dict(a=frozen.sum()), dict(one=[frozen])) == {}
    assert gradient_shares({}, {}) == {}
