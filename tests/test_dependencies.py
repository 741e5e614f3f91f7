# Copyright (c) mmhkt authors. All rights reserved.
import pytest

from mmhkt import dependencies

ONEDL = {
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmpretrain': '1.3.6',
    'onedl-mmsegmentation': '1.4.2',
}
ORIGINALS = {
    'mmengine': '0.10.7',
    'mmcv-lite': '2.1.0',
    'mmpretrain': '1.2.0',
    'mmsegmentation': '1.2.2',
}


def check(monkeypatch, installed):
    monkeypatch.setattr(dependencies, 'installed_version', installed.get)
    dependencies.check_dependencies()


def without(installed, *names):
    return {k: v for k, v in installed.items() if k not in names}


@pytest.mark.parametrize('installed', [
    ONEDL,
    ORIGINALS,
    without(ONEDL, 'onedl-mmsegmentation'),
    without(ORIGINALS, 'mmsegmentation'),
    {
        **without(ORIGINALS, 'mmcv-lite'), 'mmcv': '2.1.0'
    },
    {
        **ONEDL, 'onedl-mmcv': '2.10.0'
    },
])
def test_accepts(monkeypatch, installed):
    check(monkeypatch, installed)


@pytest.mark.parametrize(
    'installed, named, command',
    [
        # nothing at all
        ({}, ['"mmengine"', 'onedl-mmengine'
              ], 'pip install "onedl-mmengine>=0.10.12" "onedl-mmcv>=2.3.6"'),
        # one is missing, and the others say from which family it must come
        (without(ONEDL, 'onedl-mmcv'), ['"mmcv"', 'onedl-mmcv'],
         'pip install "onedl-mmengine>=0.10.12" "onedl-mmcv>=2.3.6"'),
        (without(ORIGINALS, 'mmpretrain'), ['"mmpretrain"', ' mmpretrain '],
         'pip install "mmengine>=0.10.7" "mmcv-lite>=2.1.0"'),
        # one import name twice
        ({
            **ONEDL, 'mmengine': '0.10.7'
        }, ['onedl-mmengine and mmengine'
            ], 'pip uninstall -y onedl-mmengine mmengine'),
        ({
            **ORIGINALS, 'mmcv': '2.1.0'
        }, ['mmcv-lite and mmcv'], 'pip uninstall -y mmcv-lite mmcv'),
        # mixed families, the optional package included
        ({
            **without(ONEDL, 'onedl-mmpretrain'), 'mmpretrain': '1.2.0'
        }, ['onedl-mmengine', 'mmpretrain'], 'pip uninstall -y mmpretrain &&'),
        ({
            **without(ONEDL, 'onedl-mmsegmentation'), 'mmsegmentation': '1.2.2'
        }, ['onedl-mmengine', 'mmsegmentation'
            ], 'pip uninstall -y mmsegmentation &&'),
        # too old; 0.10.9 comes before 0.10.12
        ({
            **ONEDL, 'onedl-mmengine': '0.10.9'
        }, ['onedl-mmengine 0.10.9', '0.10.12'
            ], 'pip install "onedl-mmengine>=0.10.12" "onedl-mmcv>=2.3.6"'),
        ({
            **ORIGINALS, 'mmsegmentation': '0.30.0'
        }, ['mmsegmentation 0.30.0', '1.2.2'
            ], 'pip install "mmengine>=0.10.7" "mmcv-lite>=2.1.0"'),
    ])
def test_refuses(monkeypatch, installed, named, command):
    with pytest.raises(ImportError) as error:
        check(monkeypatch, installed)
    for name in named:
        assert name in str(error.value)
    assert command in str(error.value)


def test_looks_at_what_is_installed():
    # The environment of these tests has one whole family.
    assert dependencies.installed_version('torch') is not None
    assert dependencies.installed_version('no-such-distribution') is None
    dependencies.check_dependencies()
