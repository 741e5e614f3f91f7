# Copyright (c) mmhkt authors. All rights reserved.
"""Recipes made from local files, whole where the shared material has them."""
import hashlib
import io
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmhkt.prepare import RECIPES, PrepareError, camvid, cifar10, flow, weights
from mmhkt.prepare.common import download


def test_every_recipe_has_its_module():
    for recipe in RECIPES.values():
        assert callable(
            import_module(f'mmhkt.prepare.{recipe.module}').prepare)
        if recipe.module == 'flow':
            assert recipe.target in flow.ARCHIVES


@pytest.fixture
def batches(monkeypatch):
    """Two images a file, under checksums of their own."""
    rng = np.random.default_rng(0)
    rows = {
        name: rng.integers(256, size=(2, 3073), dtype=np.uint8)
        for name in cifar10.FILES
    }
    for i, row in enumerate(rows.values()):
        row[:, 0] = i, i + 1
    monkeypatch.setattr(cifar10, 'FILES', {
        n: hashlib.md5(r.tobytes()).hexdigest()
        for n, r in rows.items()
    })
    return rows


def archived(rows, path):
    with tarfile.open(path, 'w:gz') as archive:
        for name, row in rows.items():
            info = tarfile.TarInfo(f'cifar-10-batches-bin/{name}')
            info.size = row.nbytes
            archive.addfile(info, io.BytesIO(row.tobytes()))
    return path


def test_cifar10(batches, tmp_path, monkeypatch):
    source = archived(batches, tmp_path / 'cifar-10-binary.tar.gz')
    monkeypatch.setattr(cifar10, 'URL', source.as_uri())
    for given in (source, None):
        made = tmp_path / f'{given is None}' / 'cifar10.npz'
        cifar10.prepare(given, made)
        with np.load(made) as arrays:
            assert arrays['train_images'].shape == (10, 32, 32, 3)
            assert arrays['test_labels'].tolist() == [5, 6]
            # Row 1, column 2, green: the plane of red comes first.
            assert (
                arrays['train_images'][2, 1, 2,
                                       1] == batches['data_batch_2.bin'][0, 1 +
                                                                         1024 +
                                                                         32 +
                                                                         2])
    del batches['test_batch.bin']
    with pytest.raises(PrepareError, match='has no test_batch.bin'):
        cifar10.prepare(archived(batches, source), made)


def test_cifar10_whole(cifar10_npz, tmp_path):
    """The official checksums hold for what our figures were measured on."""
    with np.load(cifar10_npz) as arrays:
        rows = np.concatenate([
            arrays['test_labels'].reshape(-1, 1),
            arrays['test_images'].transpose(0, 3, 1, 2).reshape(-1, 3072)
        ], 1)
    assert (hashlib.md5(
        rows.tobytes()).hexdigest() == cifar10.FILES['test_batch.bin'])


def test_camvid(shared_data, tmp_path):
    """All 701, from the archive of 240x180."""
    source = shared_data / 'camvid_240x180.zip'
    camvid.prepare(source, tmp_path / 'camvid')
    counts = {
        split: len(list((tmp_path / 'camvid' / split).iterdir()))
        for split in ('train', 'val', 'test', 'trainannot', 'valannot',
                      'testannot')
    }
    assert list(counts.values()) == [367, 101, 233] * 2
    with zipfile.ZipFile(source) as archive:
        name = 'test/0001TP_008550.jpg'
        assert (tmp_path / 'camvid' / name).read_bytes() == archive.read(name)
    assert [p.name for p in tmp_path.iterdir()] == ['camvid']
    next((tmp_path / 'camvid/test').iterdir()).unlink()
    with pytest.raises(PrepareError, match='700 images and 701 masks'):
        camvid.prepare(tmp_path / 'camvid', tmp_path / 'again')


def test_camvid_is_halved(tmp_path):
    image = np.kron(np.arange(4).reshape(2, 2), np.full((180, 240), 60))
    mask = np.zeros((360, 480), np.uint8)
    mask[::2, ::2] = 7
    for array, write, suffix in ((image.astype(np.uint8), camvid.write_image,
                                  'jpg'), (mask, camvid.write_mask, 'png')):
        file = io.BytesIO()
        Image.fromarray(array).save(file, 'png')
        write(file.getvalue(), tmp_path, 'a')
        made = np.asarray(Image.open(tmp_path / f'a.{suffix}'))
        assert made.shape[:2] == (180, 240)
    assert (made == 7).all()
    with pytest.raises(PrepareError, match='100x100 pixels'):
        camvid.check_size(Image.new('L', (100, 100)), tmp_path / 'a.png')


def test_a_damaged_download_is_fetched_anew(tmp_path):
    there = tmp_path / 'there/x.bin'
    there.parent.mkdir()
    there.write_bytes(b'whole')
    digest = hashlib.sha256(b'whole').hexdigest()
    (tmp_path / 'x.bin').write_bytes(b'who')
    path = download(there.as_uri(), tmp_path, digest)
    assert path.read_bytes() == b'whole'


def test_archives_of_flow(tmp_path, monkeypatch):
    monkeypatch.setitem(flow.ARCHIVES, 'Sintel',
                        flow.Archive('', {'training/clean/*/*.png': 2}))
    source = tmp_path / 'sintel.zip'
    with zipfile.ZipFile(source, 'w') as archive:
        for i in (1, 2):
            archive.writestr(f'MPI/training/clean/alley_1/frame_{i}.png', '')
    flow.prepare(source, tmp_path / 'data/Sintel')
    assert (tmp_path /
            'data/Sintel/training/clean/alley_1/frame_2.png').exists()
    source = tmp_path / 'data/Sintel'

    def stopped(source, target):
        Path(target, 'training').mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flow.shutil, 'copytree', stopped)
        with pytest.raises(KeyboardInterrupt):
            flow.prepare(source, tmp_path / 'copy/Sintel')
    assert not (tmp_path / 'copy/Sintel').exists()
    flow.prepare(source, tmp_path / 'copy/Sintel')
    (tmp_path / 'copy/Sintel/training/clean/alley_1/frame_2.png').unlink()
    with pytest.raises(PrepareError, match='has 1 files training/clean'):
        flow.prepare(tmp_path / 'copy/Sintel', tmp_path / 'third/Sintel')
    assert not (tmp_path / 'third/Sintel').exists()


def test_split_of_flying_chairs(tmp_path):
    path = tmp_path / 'FlyingChairs_train_val.txt'
    archive = flow.ARCHIVES['FlyingChairs']
    assert archive.split.endswith(path.name)
    path.write_text('1\n' * 22232 + '2\n' * 640)
    flow.check_split(path, archive.pairs)
    for text in ('1\n' * 22232 + '2\n' * 639, '<html>', ''):
        path.write_text(text)
        with pytest.raises(PrepareError, match='wanted are 22232 and 640'):
            flow.check_split(path, archive.pairs)


def test_weights(shared_data, tmp_path):
    path = tmp_path / RECIPES['cifar10-weights'].target
    weights.prepare(shared_data / 'checkpoints', path)
    assert sorted(p.name for p in path.parent.iterdir()) == list(weights.FILES)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PrepareError, match='damaged or another'):
        weights.prepare(path.parent, tmp_path / 'other' / path.name)
