# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
import torch

from mmhkt.analysis import ExplainedVariance, MinibatchCKA


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
    # Batches that are too small are passed over.
    computed = MinibatchCKA(1, 1)
    computed.update([x], [y])
    computed.update([x[:3]], [other[:3]])
    assert computed.compute().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize('positions', [None, 4])
def test_explained_variance_as_numpy_has_it(positions):
    rng = np.random.default_rng(0)
    shape = (60, ) if positions is None else (60, positions)
    x = rng.normal(size=(*shape, 3))
    z = x @ rng.normal(size=(3, 2)) + 7 + rng.normal(size=(*shape, 2))
    held = np.arange(60) % 2 == 1
    computed = ExplainedVariance(3, 2)
    for part in (slice(0, 25), slice(25, 60)):
        computed.update(*(torch.tensor(a[part]) for a in (x, z, held)))

    def rows(a, chosen):
        return a[chosen].reshape(-1, a.shape[-1])

    def with_one(a):
        return np.concatenate([np.ones((len(a), 1)), a], 1)

    weights = np.linalg.lstsq(
        with_one(rows(x, ~held)), rows(z, ~held), rcond=None)[0]
    true = rows(z, held)
    error = ((true - with_one(rows(x, held)) @ weights)**2).sum()
    expected = 1 - error / ((true - true.mean(0))**2).sum()
    assert computed.compute() == pytest.approx(expected, abs=1e-6)


def test_explained_variance_where_there_is_nothing():
    computed = ExplainedVariance(2, 1)
    assert computed.compute() is None
    # Channels that never vary do no harm.
    x = torch.ones(20, 2)
    z = torch.arange(20.)[:, None]
    computed.update(x, z, torch.arange(20) % 2 == 0)
    assert abs(computed.compute()) < 0.1
