# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
import torch

from mmhkt.analysis import ExplainedVariance, MinibatchCKA, representation
from mmhkt.analysis.representation import RIDGES, gram, hsic


def cka(rows, columns, batches=1):
    computed = MinibatchCKA(len(rows), len(columns))
    for i in range(batches):
        computed.update([x[i::batches] for x in rows],
                        [x[i::batches] for x in columns])
    return computed.compute().numpy()


def unbiased(x, y):
    """HSIC by its definition over all quadruples of different images."""
    n = len(x)
    k, m = x @ x.T, y @ y.T
    different = ~np.eye(n, dtype=bool)
    pairs = (k * m)[different].mean()
    triples, quadruples = [], []
    for i in range(n):
        for j in range(n):
            for q in range(n):
                if len({i, j, q}) == 3:
                    triples.append(k[i, j] * m[i, q])
                    for r in range(n):
                        if r not in (i, j, q):
                            quadruples.append(k[i, j] * m[q, r])
    return pairs + np.mean(quadruples) - 2 * np.mean(triples)


def test_cka_by_its_definition():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 7, 3, 2))
    y += x
    flat = [a.reshape(7, -1) for a in (x, y)]
    expected = unbiased(*flat) / np.sqrt(
        unbiased(flat[0], flat[0]) * unbiased(flat[1], flat[1]))
    found = cka([torch.tensor(x)], [torch.tensor(y)])
    assert found[0, 0] == pytest.approx(expected, abs=1e-9)


def test_cka_of_many_images_is_that_of_covariances():
    """Kornblith's formula in the features' space, on all images at once."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 5))
    y = x @ rng.normal(size=(5, 4)) + rng.normal(size=(2000, 4))
    a, b = (z - z.mean(0) for z in (x, y))
    expected = (
        np.linalg.norm(a.T @ b)**2 / np.linalg.norm(a.T @ a) /
        np.linalg.norm(b.T @ b))
    found = cka([torch.tensor(x)], [torch.tensor(y)], batches=20)
    assert found[0, 0] == pytest.approx(expected, abs=0.01)


def test_cka_with_itself_rotated_and_scaled():
    torch.manual_seed(0)
    x = torch.randn(40, 6, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    y = 3 * x @ rotation + 5
    other = torch.randn(40, 9, dtype=torch.float64)
    found = cka([x, other], [x, y], batches=4)
    assert found[0] == pytest.approx(1, abs=1e-6)
    assert abs(found[1]).max() < 0.3
    # Of three that are left there is no estimate.
    computed = MinibatchCKA(1, 1)
    computed.update([x], [y])
    computed.update([x[:3]], [other[:3]])
    assert computed.compute().item() == pytest.approx(1, abs=1e-6)
    computed = MinibatchCKA(1, 1)
    computed.update([x[:3]], [y[:3]])
    assert computed.compute().isnan()


def test_cka_image_by_image():
    """As in batches of 32."""
    torch.manual_seed(0)
    x = torch.randn(70, 6, dtype=torch.float64)
    y = x[:, :4] + torch.randn(70, 4, dtype=torch.float64)
    expected, found = MinibatchCKA(1, 1), MinibatchCKA(1, 1)
    for i in range(0, 70, 32):
        expected.update([x[i:i + 32]], [y[i:i + 32]])
    for i in range(70):
        found.update([x[i:i + 1]], [y[i:i + 1]])
    assert found.compute().item() == pytest.approx(expected.compute().item())
    assert 0.1 < found.compute().item() < 1


def test_cka_weighs_batches_by_their_images():
    """A short last batch is mostly noise."""
    torch.manual_seed(0)
    x, y = torch.randn(2, 68, 5, dtype=torch.float64)
    y += x
    found = MinibatchCKA(1, 1)
    sums = np.zeros(3)
    for part in (slice(0, 64), slice(64, 68)):
        found.update([x[part]], [y[part]])
        k, other = gram(x[part]), gram(y[part])
        weight = part.stop - part.start
        sums += weight * np.array(
            [hsic(k, other), hsic(k, k),
             hsic(other, other)])
    assert found.compute().item() == pytest.approx(sums[0] /
                                                   np.sqrt(sums[1] * sums[2]))


def with_one(a):
    return np.concatenate([np.ones((len(a), 1)), a], 1)


def ridge_regression(x, z, ridge):
    """Of centred channels, the constant not shrunk."""
    x0, z0 = x.mean(0), z.mean(0)
    x, z = x - x0, z - z0
    a = x.T @ x / len(x)
    a += ridge * np.diag(a).mean() * np.eye(len(a))
    weights = np.linalg.solve(a, x.T @ z / len(x))
    return np.concatenate([[z0 - x0 @ weights], weights])


@pytest.mark.parametrize('positions', [None, 4])
def test_explained_variance_as_numpy_has_it(positions):
    rng = np.random.default_rng(0)
    shape = (60, ) if positions is None else (60, positions)
    x = rng.normal(size=(*shape, 3))
    z = x @ rng.normal(size=(3, 2)) + 7 + rng.normal(size=(*shape, 2))
    folds = np.arange(60) % 3
    computed = ExplainedVariance(3, 2)
    for part in (slice(0, 25), slice(25, 60)):
        computed.update(*(torch.tensor(a[part]) for a in (x, z, folds)))

    def rows(fold):
        return [a[folds == fold].reshape(-1, a.shape[-1]) for a in (x, z)]

    def error(weights, x, z):
        return ((z - with_one(x) @ weights)**2).sum()

    fit, choose, held = map(rows, range(3))
    best = min(RIDGES, key=lambda r: error(ridge_regression(*fit, r), *choose))
    weights = ridge_regression(
        *(np.concatenate(pair) for pair in zip(fit, choose)), best)
    expected = 1 - error(weights, *held) / (
        (held[1] - held[1].mean(0))**2).sum()
    assert computed.compute() == pytest.approx(expected, abs=1e-6)


def of_so_many(rows, channels=40):
    """A linear map of channels of falling variance, and a fifth of noise."""
    torch.manual_seed(0)
    x = torch.randn(rows, channels) * torch.logspace(0, -1.5, channels)
    z = x @ torch.randn(channels, channels)
    z = z + z.std() / 2 * torch.randn(rows, channels)
    computed = ExplainedVariance(channels, channels)
    computed.update(x, z, torch.tensor([0, 1, 0, 2])[torch.arange(rows) % 4])
    return computed.compute()


def test_explained_variance_of_few_images(monkeypatch):
    """About as many as channels: no map that fits noise."""
    assert of_so_many(4000) == pytest.approx(.8, abs=.02)
    assert of_so_many(280) == pytest.approx(.75, abs=.08)
    # Too few to tell
    assert of_so_many(250) is None
    monkeypatch.setattr(representation, 'ENOUGH', 0)
    assert .2 < of_so_many(56) < .8


def test_explained_variance_where_there_is_nothing():
    computed = ExplainedVariance(2, 1)
    assert computed.compute() is None
    # Channels that never vary do no harm.
    for channels in ([1., 1.], [.1, 1e4], [0., 0.]):
        computed = ExplainedVariance(2, 1)
        x = torch.tensor([channels] * 30)
        z = torch.arange(30.)[:, None]
        computed.update(x, z, torch.arange(30) % 3)
        assert abs(computed.compute()) < 0.1
    # Neither does it when nothing varies.
    computed = ExplainedVariance(2, 1)
    computed.update(x, x[:, :1], torch.arange(30) % 3)
    assert computed.compute() is None
