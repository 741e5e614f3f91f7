# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt prepare`` says of what is there already."""
import hashlib

import numpy as np
import pytest

from mmhkt.cli.prepare import main
from mmhkt.prepare import RECIPES, camvid, flow, weights


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Two files of weights, under an address and checksums of their own."""
    source = tmp_path / 'published'
    source.mkdir()
    names = 'resnet20.th', RECIPES['cifar10-weights'].target.split('/')[1]
    for name in names:
        (source / name).write_text(name)
    monkeypatch.setattr(weights, 'URL', f'{source.as_uri()}/')
    monkeypatch.setattr(
        weights, 'FILES',
        {name: hashlib.sha256(name.encode()).hexdigest()
         for name in names})
    return source


@pytest.mark.parametrize('flags', [[], ['--source']])
def test_weights_are_made_whole(published, tmp_path, capsys, flags):
    flags = flags and [*flags, str(published)]
    args = ['cifar10-weights', '--out', str(tmp_path), *flags]
    target = tmp_path / RECIPES['cifar10-weights'].target
    target.parent.mkdir()
    target.write_text('not weights')
    main(args)
    assert 'written' in capsys.readouterr().out
    for path in published.iterdir():
        assert (target.parent / path.name).read_text() == path.name
    # What is whole needs neither address nor source.
    for path in published.iterdir():
        path.unlink()
    main(args)
    assert 'is there already' in capsys.readouterr().out
    (target.parent / 'resnet20.th').unlink()
    with pytest.raises(SystemExit, match='resnet20.th'):
        main(args)


@pytest.mark.parametrize('name', sorted({*RECIPES} - {'cifar10-weights'}))
def test_what_is_not_whole_is_said(name, tmp_path):
    path = tmp_path / RECIPES[name].target
    args = [name, '--out', str(tmp_path)]
    refused = pytest.raises(
        SystemExit,
        match='^mmhkt: what is there already is not whole, or another: .*; '
        f'move {path} away')
    if path.suffix:
        path.write_bytes(b'PK, but no more')
        with refused:
            main(args)
        np.savez(path, train_images=np.zeros((2, 1)))
        with refused as error:
            main(args)
        assert "no array 'train_labels'" in str(error.value)
        np.savez(
            path, **{
                f'{split}_{kind}': np.zeros((2, 1))
                for split in ('train', 'test')
                for kind in ('images', 'labels')
            })
        with refused as error:
            main(args)
        assert 'train_images of shape (2, 1), but wanted' in str(error.value)
    else:
        path.mkdir()
        with refused as error:
            main(args)
        assert 'has 0 ' in str(error.value)
    assert path.exists()


def test_a_whole_folder_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(camvid, 'NAMES', hashlib.sha256(b'val/a').hexdigest())
    monkeypatch.setitem(
        flow.ARCHIVES, 'FlyingChairs',
        flow.Archive('', {'data/*.flo': 2}, 'http://x/split.txt', (1, 1)))
    for name in ('camvid/val/a.jpg', 'camvid/valannot/a.png',
                 'FlyingChairs/data/1.flo', 'FlyingChairs/data/2.flo'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    split = tmp_path / 'FlyingChairs/split.txt'
    with pytest.raises(SystemExit, match='there is no .*split.txt'):
        main(['chairs', '--out', str(tmp_path)])
    split.write_text('1\n2\n')
    for name in ('camvid', 'chairs'):
        main([name, '--out', str(tmp_path)])
        assert 'is there already' in capsys.readouterr().out
    # Images that the configs do not look for.
    (tmp_path / 'camvid/val/a.jpg').rename(tmp_path / 'camvid/val/a.png')
    with pytest.raises(SystemExit, match='has 0 images and 1 masks'):
        main(['camvid', '--out', str(tmp_path)])
