# Copyright (c) mmhkt authors. All rights reserved.
import os
import re
import runpy
import tarfile
import zipfile

import pytest
import yaml
from packing import ROOT, build, copy_of_the_tree


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy of what is packed, since building writes into the tree."""
    return copy_of_the_tree(tmp_path_factory.mktemp('checkout'))


def files(root, *folders):
    return {
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def assert_wheel_is_complete(wheel, checkout):
    expected = {
        f'mmhkt/.mim/{name}'
        for name in files(checkout, 'configs', 'tools') | {'model-index.yml'}
    } | {name
         for name in files(checkout, 'mmhkt') if '/.mim/' not in name}
    names = zipfile.ZipFile(wheel).namelist()
    # Neither tests nor anything else goes in, and no `__init__.py` is missing.
    assert sorted(name for name in names
                  if '.dist-info/' not in name) == sorted(expected)


@pytest.mark.slow
def test_wheel(checkout, tmp_path):
    wheel = build(checkout, 'build_wheel', tmp_path / 'first')
    assert_wheel_is_complete(wheel, checkout)
    assert not (checkout / 'mmhkt' / '.mim').exists()


@pytest.mark.slow
def test_wheel_after_a_file_was_removed(checkout, tmp_path):
    (checkout / 'configs' / 'gone.py').touch()
    (checkout / 'mmhkt' / 'gone.py').touch()
    build(checkout, 'build_wheel', tmp_path / 'first')
    (checkout / 'configs' / 'gone.py').unlink()
    (checkout / 'mmhkt' / 'gone.py').unlink()
    assert_wheel_is_complete(
        build(checkout, 'build_wheel', tmp_path / 'second'), checkout)


@pytest.mark.slow
def test_editable_links_and_a_later_wheel_is_not_harmed(checkout, tmp_path):
    for turn in range(2):  # a second install finds the links of the first
        build(checkout, 'build_editable', tmp_path / f'editable{turn}')
        mim = checkout / 'mmhkt' / '.mim'
        assert sorted(
            os.listdir(mim)) == ['configs', 'model-index.yml', 'tools']
        for name in os.listdir(mim):
            assert (mim / name).resolve() == checkout / name
            # Relative, so that the folder can be moved.
            assert not os.path.isabs(os.readlink(mim / name))
    assert_wheel_is_complete(
        build(checkout, 'build_wheel', tmp_path / 'late'), checkout)


@pytest.mark.slow
def test_sdist_builds_the_same_wheel(checkout, tmp_path):
    archive = build(checkout, 'build_sdist', tmp_path / 'sdist')
    with tarfile.open(archive) as tar:
        names = [name.partition('/')[2] for name in tar.getnames()]
        tar.extractall(tmp_path, filter='data')
    assert not [name for name in names if '.mim' in name]
    unpacked = tmp_path / archive.name[:-len('.tar.gz')]
    assert_wheel_is_complete(
        build(unpacked, 'build_wheel', tmp_path / 'wheel'), checkout)


def test_model_index_names_every_metafile():
    # One that is named but absent breaks every `mmhkt::` config.
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert sorted(index['Import']) == sorted(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / 'configs').rglob('metafile.yml'))
    for name in index['Import']:
        for model in yaml.safe_load((ROOT / name).read_text())['Models']:
            assert (ROOT / model['Config']).is_file(), model['Config']


def test_one_torch_everywhere():
    """README, images and `make env` install the same pair of versions, and
    extras that there are."""
    texts = {
        name: (ROOT / name).read_text(encoding='utf-8')
        for name in ('README.md', 'Makefile', 'docker/cpu.Dockerfile',
                     'docker/cuda.Dockerfile')
    }
    pairs = {
        name: re.findall(r'torch==\S+ torchvision==\S+', text)
        for name, text in texts.items()
    }
    assert len(set(sum(pairs.values(), []))) == 1 and all(pairs.values())
    extras = runpy.run_path(str(ROOT / 'setup.py'))['EXTRAS']
    for name, text in texts.items():
        named = re.findall(r'["\'](?:\.|/mmhkt)\[([\w,-]+)\]', text)
        assert named and set(','.join(named).split(',')) <= set(extras), name
