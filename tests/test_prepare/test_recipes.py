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
        module = import_module(f'mmhkt.prepare.{recipe.module}')
        assert callable(module.prepare) and callable(module.is_there)
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


def flipped(content, seed, begin, end):
    """One byte of a file is another."""
    rng = np.random.default_rng(seed)
    damaged = bytearray(content)
    damaged[rng.integers(begin, len(content) - end)] ^= rng.integers(1, 256)
    return bytes(damaged)


def test_a_damaged_cifar10(batches, tmp_path):
    """It is not taken for another version that lacks files."""
    source = archived(batches, tmp_path / 'cifar-10-binary.tar.gz')
    whole = source.read_bytes()
    for seed in range(20):
        source.write_bytes(flipped(whole, seed, 100, 0))
        with pytest.raises(PrepareError, match='cannot be read'):
            cifar10.prepare(source, tmp_path / 'cifar10.npz')


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
    assert camvid.is_there(tmp_path / 'camvid')
    with zipfile.ZipFile(source) as archive:
        name = 'test/0001TP_008550.jpg'
        assert (tmp_path / 'camvid' / name).read_bytes() == archive.read(name)
    assert [p.name for p in tmp_path.iterdir()] == ['camvid']
    next((tmp_path / 'camvid/test').iterdir()).unlink()
    with pytest.raises(PrepareError, match='700 images and 701 masks'):
        camvid.prepare(tmp_path / 'camvid', tmp_path / 'again')


def png(*shape):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(9, size=shape, dtype=np.uint8)
    Image.fromarray(noise).save(file, 'png')
    return file.getvalue()


@pytest.fixture
def one_image(tmp_path, monkeypatch):
    """An archive of one image, which is then all that is wanted."""
    monkeypatch.setattr(camvid, 'NAMES',
                        hashlib.sha256(b'train/a').hexdigest())
    source = tmp_path / 'one.zip'
    with zipfile.ZipFile(source, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('CamVid/train/a.png', png(360, 480, 3))
        archive.writestr('CamVid/trainannot/a.png', png(360, 480))
    return source


def test_a_damaged_camvid(one_image, tmp_path):
    whole = one_image.read_bytes()
    for seed in range(20):
        one_image.write_bytes(flipped(whole, seed, 80, 400))
        with pytest.raises(
                PrepareError, match='one.zip is damaged: train(annot)?/a'):
            camvid.prepare(one_image, tmp_path / 'camvid')
    for kind in ('train', 'trainannot'):
        (tmp_path / 'cut' / kind).mkdir(parents=True)
        (tmp_path / 'cut' / kind / 'a.png').write_bytes(png(360, 480)[:2000])
    with pytest.raises(PrepareError, match='^train/a is no image, or a dama'):
        camvid.prepare(tmp_path / 'cut', tmp_path / 'camvid')
    assert not (tmp_path / 'camvid').exists()


def test_one_that_is_made_meanwhile_is_left(one_image, tmp_path, monkeypatch):
    """Two processes at once: the second does not put its folder into that
    of the first."""
    names = ['train', 'train/a.jpg', 'trainannot', 'trainannot/a.png']
    right = camvid.check_names

    def overtaken(*args):
        monkeypatch.setattr(camvid, 'check_names', right)
        camvid.prepare(one_image, tmp_path / 'camvid')

    monkeypatch.setattr(camvid, 'check_names', overtaken)
    with pytest.raises(PrepareError, match='camvid is there by now'):
        camvid.prepare(one_image, tmp_path / 'camvid')
    assert sorted(
        path.relative_to(tmp_path / 'camvid').as_posix()
        for path in (tmp_path / 'camvid').rglob('*')) == names


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


def test_a_damaged_archive_of_flow(tmp_path, monkeypatch):
    source = tmp_path / 'published/sintel.zip'
    monkeypatch.setitem(
        flow.ARCHIVES, 'Sintel',
        flow.Archive(source.as_uri(), {'training/clean/*/*.png': 1}))
    source.parent.mkdir()
    with zipfile.ZipFile(source, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('training/clean/a/frame_1.png', png(60, 80))
    whole = source.read_bytes()
    for seed in range(20):
        source.write_bytes(flipped(whole, seed, 80, 200))
        with pytest.raises(PrepareError, match='is damaged and cannot be un'):
            flow.prepare(source, tmp_path / 'data/Sintel')
    # One that was downloaded is of no use, and is fetched anew.
    with pytest.raises(PrepareError, match='is damaged and cannot be un'):
        flow.prepare(None, tmp_path / 'data/Sintel')
    assert not list((tmp_path / 'data').iterdir())


@pytest.fixture
def chairs(tmp_path, monkeypatch):
    """FlyingChairs of one pair."""
    folder = tmp_path / 'published'
    folder.mkdir()
    with zipfile.ZipFile(folder / 'Chairs.zip', 'w') as archive:
        for name in ('1_img1.ppm', '1_img2.ppm', '1_flow.flo'):
            archive.writestr(f'FlyingChairs_release/data/{name}', 'x')
    (folder / 'split.txt').write_text('1\n')
    monkeypatch.setitem(
        flow.ARCHIVES, 'FlyingChairs',
        flow.Archive((folder / 'Chairs.zip').as_uri(), {
            'data/*.ppm': 2,
            'data/*.flo': 1
        }, (folder / 'split.txt').as_uri(), (1, 0)))
    return folder


def test_without_a_split_no_archive_is_fetched(chairs, tmp_path, monkeypatch):
    path = tmp_path / 'data/FlyingChairs'
    fetched = []
    monkeypatch.setattr(
        flow, 'download',
        lambda url, folder: fetched.append(url) or download(url, folder))
    (chairs / 'split.txt').rename(chairs / 'later.txt')
    with pytest.raises(PrepareError, match='split.txt cannot be fetched'):
        flow.prepare(None, path)
    (chairs / 'split.txt').write_text('<html>')
    with pytest.raises(PrepareError, match='split.txt has 1 lines'):
        flow.prepare(None, path)
    assert all(url.endswith('split.txt') for url in fetched)
    (chairs / 'later.txt').rename(chairs / 'split.txt')
    flow.prepare(None, path)
    assert (path / 'split.txt').read_text() == '1\n'
    assert flow.is_there(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_downloaded_archive_is_kept_when_a_step_fails(
        chairs, tmp_path, monkeypatch, capsys):
    path = tmp_path / 'data/FlyingChairs'
    kept = path.with_name('Chairs.zip')

    def full(*_):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, 'extractall', full)
        with pytest.raises(PrepareError, match='Chairs.zip.*No space left'):
            flow.prepare(None, path)
    assert f'{kept} is kept' in capsys.readouterr().err
    assert list(path.parent.iterdir()) == [kept]
    # The next try takes it.
    (chairs / 'Chairs.zip').unlink()
    flow.prepare(None, path)
    assert sorted(path.parent.iterdir()) == [kept, path]


def test_a_given_folder_without_a_split_gets_it(chairs, tmp_path):
    zipfile.ZipFile(chairs / 'Chairs.zip').extractall(tmp_path / 'mine')
    path = tmp_path / 'data/FlyingChairs'
    flow.prepare(tmp_path / 'mine', path)
    assert flow.is_there(path)
    assert not list((tmp_path / 'mine').rglob('split.txt'))
    with pytest.raises(PrepareError, match='FlyingChairs is there by now'):
        flow.prepare(tmp_path / 'mine', path)
    assert sorted(p.name for p in path.iterdir()) == ['data', 'split.txt']


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
    assert weights.is_there(path)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PrepareError, match='damaged or another'):
        weights.prepare(path.parent, tmp_path / 'other' / path.name)
