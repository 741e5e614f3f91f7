# Copyright (c) mmhkt authors. All rights reserved.
import copy

import numpy as np
import pytest
import torch
from helpers import same

from mmhkt.inheritance import Regression

WIDTHS = [(4, 6), (6, 4), (4, 4)]


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def maps(source, target, batch=3, seed=0):
    """Maps that have something to do with each other."""
    gen = random(seed)
    q = torch.rand(batch, source, 5, 7, generator=gen)
    mix = torch.randn(source, target, generator=random(99))
    z = torch.einsum('bchw,cp->bphw', q, mix)
    return q, z + 0.5 * torch.randn(z.shape, generator=gen)


def rows(feature, dim=1):
    """As float64, one position each."""
    return feature.detach().double().movedim(dim, -1).flatten(0, -2).numpy()


class ByHand:
    """The same in numpy, by the direct formula."""

    def __init__(self, source, target, alike=None):
        self.equal = source == target if alike is None else alike
        self.square = np.zeros((source, source))
        self.cross = np.zeros((source, target))
        self.power = self.rows = 0.

    def __call__(self, q, z):
        """v, error and its gradient, before it learns from a batch."""
        batch = q.T @ q, q.T @ z, (z**2).sum(), len(q)
        own = self.rows == 0
        square, cross = batch[:2] if own else (self.square, self.cross)
        r = solved(square, cross).T
        if self.equal:
            r = np.eye(q.shape[1])
        self.square += 0.1 * (batch[0] - self.square)
        self.cross += 0.1 * (batch[1] - self.cross)
        self.power += 0.1 * (batch[2] - self.power)
        self.rows += 0.1 * (batch[3] - self.rows)
        power = self.power / self.rows
        off = q @ r.T - z
        error = (off**2).sum() / len(q) / power
        v = z if self.equal else solved(r.T @ r, r.T @ z.T).T
        return v, error, 2 * off @ r / len(q) / power


def solved(square, other):
    ridge = 1e-3 * np.diag(square).mean()
    return np.linalg.solve(square + ridge * np.eye(len(square)), other)


# ------------------------------------------------------------ by another way


@pytest.mark.parametrize('widths', [*WIDTHS, (4, 4, False)])
@pytest.mark.parametrize('dim', [1, -1])
def test_by_the_direct_formula(widths, dim):
    """The first batch is measured by its own regression, every other by that
    of the batches before; a batch of fewer rows counts less."""
    *widths, alike = (*widths, None)[:3]
    regression = Regression(*widths, dim, alike)
    by_hand = ByHand(*widths, alike)
    for i, batch in enumerate([3, 3, 1, 4]):
        q, z = maps(*widths, batch, seed=i)
        if dim == -1:
            q, z = (f.flatten(2).transpose(1, 2) for f in (q, z))
        q.requires_grad_()
        v, error = regression(q, z)
        expected, hint, grad = by_hand(rows(q, dim), rows(z, dim))
        assert v.shape == q.shape and not v.requires_grad
        np.testing.assert_allclose(rows(v, dim), expected, 1e-3, 1e-3)
        assert error.dtype == torch.float32 and error.shape == ()
        assert error.item() == pytest.approx(hint, rel=1e-5)
        error.backward()
        off = np.abs(rows(q.grad, dim) - grad).max() / np.abs(grad).max()
        assert off < 1e-5


@pytest.mark.parametrize('source', [32, 64])
def test_by_the_direct_formula_in_the_widths_of_networks(source):
    regression, by_hand = Regression(source, 256, 1), ByHand(source, 256)
    for i in range(3):
        q, z = maps(source, 256, 40, seed=i)
        q, z = q.requires_grad_(), z.relu()
        v, error = regression(q, z)
        expected, hint, grad = by_hand(rows(q), rows(z))
        assert error.item() == pytest.approx(hint, rel=1e-5)
        error.backward()
        # A small difference of large numbers, after a good fit.
        off = rows(q.grad) - grad
        assert np.linalg.norm(off) < 5e-5 * np.linalg.norm(grad)
        off = np.abs(rows(v) - expected).max() / np.abs(expected).max()
        assert off < 1e-3


def test_a_small_error_of_large_features():
    """Sums of millions of squares are exact enough to be subtracted."""
    q, noise = maps(16, 256, 400)
    weight = torch.randn(16, 256, generator=random())
    z = 30 * torch.einsum('bchw,cp->bphw', q, weight) + noise
    _, error = Regression(16, 256, 1)(q, z)
    _, expected, _ = ByHand(16, 256)(rows(q), rows(z))
    assert expected < 1e-4
    assert error.item() == pytest.approx(expected, rel=1e-2)


def test_the_first_batch_is_fitted_by_least_squares():
    """But for the ridge."""
    q, z = maps(4, 6)
    v, error = Regression(4, 6, 1)(q, z)
    q, z = rows(q), rows(z)
    r, *_ = np.linalg.lstsq(q, z, rcond=None)
    expected = ((q @ r - z)**2).sum() / (z**2).sum()
    assert error.item() == pytest.approx(expected, rel=0.02)
    np.testing.assert_allclose(rows(v), z @ np.linalg.pinv(r), atol=0.05)


def test_a_later_batch_is_measured_by_the_ones_before():
    """So that no part of the error is hidden from the gradient."""
    regression = Regression(4, 6, 1)
    regression(*maps(4, 6))
    q, z = maps(4, 6, seed=1)
    v, error = regression(q, -z)
    # What was fitted predicts z, of which -z is the opposite.
    assert 2 < error.item() < 4.5
    assert (rows(v) * rows(q)).sum() < 0


@pytest.mark.parametrize('dim', [1, -1])
def test_it_inverts_itself(dim):
    gen = random()
    q = torch.rand((2, 4, 3, 5) if dim == 1 else (2, 7, 4), generator=gen)
    weight = torch.randn(6, 4, generator=gen)
    z = (q.movedim(dim, -1) @ weight.T).movedim(-1, dim)
    assert z.shape[dim] == 6
    v, error = Regression(4, 6, dim)(q, z)
    assert torch.allclose(v, q, atol=0.05)
    assert error.item() == pytest.approx(0, abs=0.01)


def test_of_fewer_channels_it_is_the_feature_of_least_norm():
    """Of those that are regressed to the parent's."""
    gen = random()
    q = torch.randn(50, 6, generator=gen)
    weight = torch.randn(4, 6, generator=gen)
    z = q @ weight.T
    v, error = Regression(6, 4, -1)(q, z)
    assert torch.allclose(v @ weight.T, z, atol=0.05)
    assert torch.allclose(v, z @ torch.linalg.pinv(weight).T, atol=0.05)
    assert error.item() == pytest.approx(0, abs=0.01)


def test_batches_are_averaged():
    """As a batch norm does, with a momentum of 0.1, by rows."""
    regression = Regression(2, 3, -1)
    square, cross, power, count = 0., 0., 0., 0.
    for i, size in enumerate([8, 8, 2]):
        q, z = (torch.rand(size, n, generator=random(i)) for n in (2, 3))
        regression(q, z)
        square += 0.1 * (q.T @ q - square)
        cross += 0.1 * (q.T @ z - cross)
        power += 0.1 * ((z**2).sum() - power)
        count += 0.1 * (size - count)
    for name, expected in dict(
            square=square, cross=cross, power=power, rows=count).items():
        assert torch.allclose(
            regression.get_buffer(name), torch.as_tensor(expected),
            rtol=1e-5), name


@pytest.mark.parametrize('widths', WIDTHS)
def test_a_small_last_batch_counts_less(widths):
    few, many, none = (Regression(*widths, 1) for _ in range(3))
    for regression in (few, many, none):
        regression(*maps(*widths, 8))
    q, z = maps(*widths, 8, seed=1)
    many(q, 3 * z)
    few(q[:1], 3 * z[:1])
    probe = maps(*widths, 8, seed=2)
    found = [r(*probe)[1].item() for r in (many, few, none)]
    # Between the two, and nearer to that without it.
    assert min(found[0], found[2]) < found[1] < max(found[0], found[2])
    assert abs(found[1] - found[2]) < abs(found[1] - found[0])


# ------------------------------------------------------------------ bad ones


def spoilt(q, z, which, value):
    q, z = q.clone(), z.clone()
    for name, feature in (('q', q), ('z', z)):
        if name in which:
            feature[0, 0, 0, 3] = value
    return q, z


@pytest.mark.parametrize('widths', WIDTHS)
@pytest.mark.parametrize('which', ['q', 'z', 'qz'])
@pytest.mark.parametrize('value', [np.inf, np.nan, 1e30])
@pytest.mark.parametrize('seen', [0, 2])
def test_a_bad_batch_leaves_everything_as_it_was(widths, which, value, seen):
    regression = Regression(*widths, 1)
    for i in range(seen):
        regression(*maps(*widths, seed=i))
    twin = copy.deepcopy(regression)
    regression(*spoilt(*maps(*widths, seed=7), which, value))
    if widths[0] == widths[1] and which == 'q':
        # Only the parent's power is learned.
        assert all(v.isfinite() for v in regression.state_dict().values())
        return
    assert same(regression.state_dict(), twin.state_dict())
    probe = maps(*widths, seed=8)
    for one, other in zip(regression(*probe), twin(*probe)):
        assert torch.equal(one, other) and one.isfinite().all()


@pytest.mark.parametrize('widths', WIDTHS)
@pytest.mark.parametrize('tiny', [0., 1e-30, 1e-12, 1e-8])
def test_zeros_of_the_parent_after_a_normal_history(widths, tiny):
    """They divide by nothing tiny: 59 became 3e17 in one batch."""
    regression = Regression(*widths, 1)
    for i in range(20):
        q, z = maps(*widths, seed=i)
        _, before = regression(q, z)
    power = (z**2).sum(1).mean().item()
    q, z = maps(*widths, seed=30)
    q.requires_grad_()
    v, error = regression(q, tiny * z)
    assert v.isfinite().all()
    # What it makes has the parent's power.
    bound = 2 * max((q**2).sum(1).mean().item(), power) / power
    assert 0 <= error.item() < bound < 20
    error.backward()
    assert q.grad.isfinite().all() and q.grad.abs().max() < 1
    # And afterwards all is as it was, nearly.
    _, after = regression(*maps(*widths, seed=19))
    assert after.item() == pytest.approx(before.item(), rel=0.4)


@pytest.mark.parametrize('widths', WIDTHS)
@pytest.mark.parametrize('child', [0., 1e-12, 1.])
@pytest.mark.parametrize('parent', [0., 1e-30, 1e-12])
def test_nothing_to_be_made_from_the_beginning(widths, child, parent):
    regression = Regression(*widths, 1)
    for i in range(3):
        q, z = maps(*widths, seed=i)
        q = (child * q).requires_grad_()
        v, error = regression(q, parent * z)
        assert v.isfinite().all() and error.item() == 0
        error.backward()
        assert not q.grad.any()
    # Then there is something.
    q, z = maps(*widths, seed=4)
    v, error = regression(q.requires_grad_(), z)
    assert v.isfinite().all() and 0 < error.item() < 20


def test_a_child_of_zeros():
    regression = Regression(4, 6, -1)
    q, z = torch.zeros(5, 4, requires_grad=True), torch.rand(5, 6)
    v, error = regression(q, z)
    assert not v.any() and error.item() == pytest.approx(1)
    error.backward()
    assert not q.grad.any()


def test_many_channels_that_are_all_the_same():
    """The square has one rank, and is solved without a check."""
    regression = Regression(1024, 64, -1)
    q = torch.rand(40, 1, generator=random()).expand(40, 1024) * 100
    z = torch.rand(40, 64, generator=random(1))
    for _ in range(2):
        v, error = regression(q, z)
        # In 32 bits, by sums that nearly cancel: about nothing.
        assert v.isfinite().all() and 0 <= error.item() < 2


# ---------------------------------------------------------- how it is called


@pytest.mark.parametrize('widths', WIDTHS)
def test_what_is_not_wanted_is_not_made(widths):
    q, z = maps(*widths)
    both = Regression(*widths, 1)
    for error, inverse in ((True, False), (False, True), (False, False)):
        one = Regression(*widths, 1)
        for i in range(2):
            v, found = one(q, z, error=error, inverse=inverse)
            assert (v is not None) == inverse
            assert (found is not None) == error
            if widths[0] != widths[1] or error:
                assert one.rows > 0
        fresh = copy.deepcopy(both)
        if widths[0] == widths[1] and not error:
            continue
        for _ in range(2):
            expected = fresh(q, z)
        assert same(one.state_dict(), fresh.state_dict())
        for mine, other in zip((v, found), expected):
            assert mine is None or torch.equal(mine, other)


@pytest.mark.parametrize('widths', WIDTHS)
def test_only_the_childs_feature_gets_a_gradient(widths):
    regression = Regression(*widths, 1)
    assert not list(regression.parameters())
    for _ in range(2):
        q, z = (f.requires_grad_() for f in maps(*widths))
        _, error = regression(q, z, inverse=False)
        error.backward()
        assert q.grad.any() and z.grad is None
    assert not any(b.requires_grad for b in regression.buffers())


def test_equal_widths_are_compared_as_they_are():
    q = torch.tensor([[1., 2.], [3., 4.]], requires_grad=True)
    z = torch.tensor([[1., 0.], [0., 3.]])
    regression = Regression(2, 2, -1)
    assert set(regression.state_dict()) == {'power', 'rows'}
    v, error = regression(q, z)
    assert v is z
    # (0 + 4 + 9 + 1) / (1 + 0 + 0 + 9)
    assert error.item() == pytest.approx(1.4)
    error.backward()
    assert torch.allclose(q.grad, 2 * (q - z).detach() / 10)
    again = Regression(2, 2, -1)(10 * q, 10 * z)[1]
    assert again.item() == pytest.approx(1.4)
    # Of a later batch the power is the mean with the ones before: that of
    # the first has the weight 0.09, of the second 0.1.
    _, error = regression(q, 2 * z)
    squares = ((q - 2 * z)**2).sum().item() / 2
    power = (0.09 * 10 + 0.1 * 40) / 0.19 / 2
    assert error.item() == pytest.approx(squares / power)


@pytest.mark.parametrize('widths', WIDTHS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(widths, dtype):
    """What comes of rounded features is what comes of the same ones given in
    float32, under autocast or not."""
    full, half, casted = (Regression(*widths, 1) for _ in range(3))
    for i in range(2):
        q, z = (f.to(dtype).requires_grad_() for f in maps(*widths, seed=i))
        wide = q.detach().float().requires_grad_()
        expected, hint = full(wide, z.detach().float())
        v, error = half(q, z)
        assert error.dtype == torch.float32 and error.item() == hint.item()
        assert v.dtype == dtype and torch.equal(v, expected.to(dtype))
        error.backward()
        hint.backward()
        assert q.grad.dtype == dtype and z.grad is None
        assert torch.allclose(q.grad, wide.grad.to(dtype))
        with torch.autocast('cpu', dtype=torch.bfloat16):
            v, error = casted(wide.detach(), z.detach().float())
        assert torch.equal(v, expected) and error.item() == hint.item()
    assert same(full.state_dict(), half.state_dict())
    assert all(b.dtype == torch.float32 for b in half.buffers())


def test_half_precision_keeps_its_range():
    """Sums of squares are beyond 65,504."""
    q, z = (300 * f for f in maps(4, 6, batch=16))
    _, expected = Regression(4, 6, 1)(q, z)
    v, error = Regression(4, 6, 1)(q.half(), z.half())
    assert v.isfinite().all()
    assert error.item() == pytest.approx(expected.item(), rel=1e-2)


def test_the_error_of_equal_features_in_half_precision():
    q = torch.full((1, 2), 1.0, dtype=torch.bfloat16)
    z = torch.full((1, 2), 1.0 + 2**-6, dtype=torch.bfloat16)
    _, error = Regression(2, 2, -1)(q, z)
    assert error.dtype == torch.float32
    assert error.item() == pytest.approx((2**-6 / (1 + 2**-6))**2)


def test_tokens_are_rows_like_positions():
    q, z = maps(4, 6)
    tokens = [f.flatten(2).transpose(1, 2) for f in (q, z)]
    maps_, rows_ = Regression(4, 6, 1), Regression(4, 6, -1)
    for _ in range(2):
        v, error = maps_(q, z)
        w, other = rows_(*tokens)
        assert torch.allclose(v.flatten(2).transpose(1, 2), w, atol=1e-5)
        assert error.item() == pytest.approx(other.item(), rel=1e-6)
    vectors = Regression(4, 6, -1)(q.mean((2, 3)), z.mean((2, 3)))
    assert vectors[0].shape == (3, 4)


@pytest.mark.parametrize('sizes', [(5, 7), (1, 1), (2, 40)])
@pytest.mark.parametrize('last', [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize('widths', WIDTHS)
def test_channels_that_are_last_in_memory(widths, last, sizes):
    """The same, and what comes out is laid out as what went in."""
    source, target = widths
    q, z = torch.randn(4, source, *sizes), torch.randn(4, target, *sizes)
    plain, other = (Regression(source, target, 1) for _ in range(2))
    for _ in range(2):
        own, moved = (f.clone(memory_format=torch.channels_last
                              if one else torch.contiguous_format)
                      for f, one in zip((q, z), last))
        q.grad = None
        q.requires_grad_()
        own = own.detach().requires_grad_()
        v, error = plain(q, z)
        w, same_error = other(own, moved)
        error.backward()
        same_error.backward()
        assert (v - w).norm() < 1e-3 * v.norm()
        assert error.item() == pytest.approx(same_error.item(), rel=1e-5)
        assert torch.allclose(q.grad, own.grad, atol=1e-5)
        q = q.detach()
        if last[0] and source != target:
            assert w.is_contiguous(memory_format=torch.channels_last)
            assert own.grad.is_contiguous(memory_format=torch.channels_last)
