# Copyright (c) mmhkt authors. All rights reserved.
import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from mmhkt.cli import main
from mmhkt.datasets import ArrayDataset
from mmhkt.prepare import PrepareError, fashion_mnist

DEBIAN = Path(
    os.environ.get('MMHKT_FASHION_MNIST', '/usr/share/datasets/fashion-mnist'))


def idx(array):
    """MNIST's format, from its description: big-endian sizes first."""
    return struct.pack(f'>4B{array.ndim}I', 0, 0, 8, array.ndim, *
                       array.shape) + array.tobytes()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Six images and three in the files and under checksums of their own."""
    rng = np.random.default_rng(0)
    arrays = dict(
        train_images=rng.integers(256, size=(6, 28, 28), dtype=np.uint8),
        train_labels=np.arange(6, dtype=np.uint8),
        test_images=rng.integers(256, size=(3, 28, 28), dtype=np.uint8),
        test_labels=np.array([5, 0, 2], np.uint8))
    folder = tmp_path / 'originals' / 'below'
    folder.mkdir(parents=True)
    files = {}
    for key, array in arrays.items():
        name = fashion_mnist.FILES[key][0]
        (folder / f'{name}.gz').write_bytes(gzip.compress(idx(array)))
        files[key] = name, hashlib.sha256(idx(array)).hexdigest()
    monkeypatch.setattr(fashion_mnist, 'FILES', files)
    monkeypatch.setattr(fashion_mnist, 'COUNTS', dict(train=6, test=3))
    monkeypatch.setattr(fashion_mnist, 'URL', f'{folder.as_uri()}/')
    return folder.parent, arrays


def test_parse_idx():
    content = b'\0\0\x08\x02' + b'\0\0\0\x02' + b'\0\0\0\x03' + bytes(range(6))
    np.testing.assert_array_equal(
        fashion_mnist.parse_idx(content), [[0, 1, 2], [3, 4, 5]])
    for wrong in (content[:-1], content + b'\0', b'\0\0\x0d' + content[3:],
                  content[:6], b''):
        with pytest.raises(PrepareError):
            fashion_mnist.parse_idx(wrong)


@pytest.mark.parametrize('downloaded', [False, True])
def test_made_from_a_folder_and_from_an_address(small, tmp_path, capsys,
                                                downloaded):
    source, arrays = small
    flags = [] if downloaded else ['--source', str(source)]
    with pytest.raises(SystemExit) as end:
        main(['prepare', 'fashion-mnist', '--out', str(tmp_path), *flags])
    assert not end.value.code
    path = tmp_path / 'fashion_mnist.npz'
    assert capsys.readouterr().out.strip().endswith(str(path))
    with np.load(path) as made:
        assert set(made.files) == set(arrays)
        for key, array in arrays.items():
            np.testing.assert_array_equal(made[key], array)
    with pytest.raises(SystemExit):
        main(['prepare', 'fashion-mnist', '--out', str(tmp_path)])
    assert 'is there already' in capsys.readouterr().out
    dataset = ArrayDataset(str(path), split='test')
    assert [d['gt_label'] for d in dataset] == [5, 0, 2]


def test_damage_is_named(small, tmp_path):
    source, _ = small
    path = next(source.rglob('t10k-labels*'))
    whole = path.read_bytes()
    for content, message in ((gzip.compress(b'other'), 'damaged or another'),
                             (whole[:-9], 'cannot be unpacked')):
        path.write_bytes(content)
        with pytest.raises(PrepareError, match=f't10k-labels.*{message}'):
            fashion_mnist.prepare(source, tmp_path / 'a' / 'out.npz')
    path.unlink()
    with pytest.raises(PrepareError, match='has no t10k-labels-idx1-ubyte.gz'):
        fashion_mnist.prepare(source, tmp_path / 'a' / 'out.npz')
    with pytest.raises(SystemExit, match='--source'):  # none to download
        main(['prepare', 'fashion-mnist', '--out', str(tmp_path / 'a')])
    assert not (tmp_path / 'a').exists()


@pytest.mark.skipif(
    not DEBIAN.is_dir(),
    reason='Fashion-MNIST is not installed; MMHKT_FASHION_MNIST says where')
def test_the_whole(tmp_path):
    path = tmp_path / 'fashion_mnist.npz'
    fashion_mnist.prepare(DEBIAN, path)
    assert fashion_mnist.is_there(path)
    with np.load(path) as made:
        assert made['train_images'].shape == (60000, 28, 28)
        assert np.bincount(made['train_labels']).tolist() == [6000] * 10
        assert np.bincount(made['test_labels']).tolist() == [1000] * 10
