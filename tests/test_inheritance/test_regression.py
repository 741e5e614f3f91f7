# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch

from mmhkt.inheritance import Regression


@pytest.mark.parametrize('dim', [1, -1])
def test_regression_inverts_itself(dim):
    torch.manual_seed(0)
    regression = Regression(4, 6, dim)
    feature = torch.rand((2, 4, 3, 5) if dim == 1 else (2, 7, 4))
    there = regression.regress(feature)
    assert there.shape[dim] == 6
    assert torch.allclose(regression(there), feature, atol=0.05)


def test_regression_to_fewer_channels():
    """The feature of least norm among those that are regressed to it."""
    torch.manual_seed(0)
    regression = Regression(6, 4, -1)
    wanted = torch.rand(5, 4)
    back = regression(wanted)
    assert torch.allclose(regression.regress(back), wanted, atol=0.05)
    exact = wanted @ torch.linalg.pinv(regression.weight.detach()).T
    assert torch.allclose(back, exact, atol=0.05)


def test_regression_is_inverted_in_full_precision():
    torch.manual_seed(0)
    regression = Regression(4, 6, 1)
    feature = torch.rand(2, 6, 3, 3)
    exact = regression(feature)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rounded = regression(feature)
    assert torch.allclose(exact, rounded.float(), rtol=0.02, atol=0.02)
    assert not rounded.requires_grad


@pytest.mark.parametrize('dim', [1, -1])
def test_fit_is_least_squares(dim):
    torch.manual_seed(0)
    regression = Regression(4, 6, dim)
    rows = torch.rand(40, 4), torch.rand(40, 6)
    if dim == 1:
        feature, target = (r.view(2, 4, 5, -1).movedim(-1, 1) for r in rows)
    else:
        feature, target = (r.view(2, 20, -1) for r in rows)
    regression.fit(feature, target)
    expected = torch.linalg.lstsq(*rows).solution
    assert torch.allclose(regression.weight.T, expected, atol=0.02)
    found = regression.regress(feature).movedim(dim, -1).flatten(0, -2)
    assert torch.allclose(found, rows[0] @ regression.weight.T, atol=1e-6)


def test_batches_are_averaged():
    """As a batch norm does, with a momentum of 0.1."""
    torch.manual_seed(0)
    regression = Regression(2, 3, -1)
    square, cross = torch.zeros(2, 2), torch.zeros(2, 3)
    for _ in range(3):
        q, z = torch.rand(8, 2), torch.rand(8, 3)
        regression.fit(q, z)
        square += 0.1 * (q.T @ q / 8 - square)
        cross += 0.1 * (q.T @ z / 8 - cross)
    ridge = 1e-3 * square.diagonal().mean() * torch.eye(2)
    expected = torch.inverse(square + ridge) @ cross
    assert torch.allclose(regression.weight.T, expected, atol=1e-4)


def test_of_what_is_zero_everywhere():
    regression = Regression(4, 6, -1)
    regression.fit(torch.zeros(5, 4), torch.rand(5, 6))
    assert not regression.weight.any()
    assert not regression(torch.rand(5, 6)).any()


def test_only_the_feature_gets_a_gradient():
    regression = Regression(4, 6, -1)
    assert not list(regression.parameters())
    feature = torch.rand(5, 4, requires_grad=True)
    target = torch.rand(5, 6, requires_grad=True)
    regression.fit(feature, target)
    regression.regress(feature).sum().backward()
    assert feature.grad.any() and target.grad is None
    assert not regression(target).requires_grad
