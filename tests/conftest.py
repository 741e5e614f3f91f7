# Copyright (c) mmhkt authors. All rights reserved.
import gc
import os
import re
from pathlib import Path
from unittest import mock

import pytest
from yapf.yapflib import yapf_api

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config):
    """What is tested is arithmetic, to the bit, in processes that are forked:
    a GPU is there for the tests of it only, ``pytest -m gpu``."""
    if not re.search(r'(?<!not )\bgpu\b', config.option.markexpr):
        os.environ['CUDA_VISIBLE_DEVICES'] = ''


@pytest.fixture(scope='session', autouse=True)
def texts_of_configs():
    """mmengine has a config's text formatted anew for every file that it
    writes, which takes half of the time of a short run; here, once."""
    format_code, formatted = yapf_api.FormatCode, {}

    def once(text, **kwargs):
        if text not in formatted:
            formatted[text] = format_code(text, **kwargs)
        return formatted[text]

    with mock.patch.object(yapf_api, 'FormatCode', once):
        yield


@pytest.fixture(scope='module', autouse=True)
def what_was_imported():
    """It stays, and need not be looked through whenever garbage is collected,
    as mmengine does for every data set."""
    gc.collect()
    gc.freeze()


def _found(variable: str, default: Path, what: str) -> Path:
    path = Path(os.environ.get(variable) or default)
    if not path.exists():
        pytest.skip(f'{what} is not at {path}; {variable} says where it is')
    return path


@pytest.fixture
def shared_data() -> Path:
    """Folder of the test material that is not part of the repository."""
    return _found('MMHKT_SHARED_DATA', ROOT.parent / 'shared' / 'data',
                  'the shared test material')


@pytest.fixture
def cifar10_npz() -> Path:
    """CIFAR-10 as one file of arrays."""
    return _found('MMHKT_CIFAR10_NPZ', ROOT / 'data' / 'cifar10.npz',
                  'CIFAR-10')


@pytest.fixture
def lits_crop() -> Path:
    """Folder of img_117.mrc and lab_117.mrc, the liver of LiTS' volume 117,
    from the wheel liver-ct-segmentation-package 1.6.0."""
    return _found('MMHKT_LITS_CROP', ROOT / 'data' / 'lits_crop',
                  'the crop of LiTS')
