# Copyright (c) mmhkt authors. All rights reserved.
"""The coverage table says what is so."""
import json
import os
import subprocess
import sys

import coverage_page
import pytest
import zoo_survey
from helpers import REPO

TABLE = json.loads((REPO / 'docs/coverage.json').read_text())
# Of each zoo a few, of different kinds; MMHKT_COVERAGE=all tries every one.
SOME = dict(
    mmpretrain=('mobilenet_v2: ', 'levit: ', 'lenet: '),
    mmseg=('fcn: ResNetV1c', 'maskformer: ResNet'))


def test_the_page_is_the_surveys():
    assert (REPO / 'docs/coverage.md').read_text() == coverage_page.page(TABLE)
    assert coverage_page.sentence(TABLE) in (REPO / 'README.md').read_text()


def rows():
    for zoo, found in TABLE.items():
        for name, row in found.items():
            if name.startswith(SOME[zoo]):
                yield pytest.param(zoo, row, id=name)


@pytest.mark.slow
@pytest.mark.parametrize('zoo, row', list(rows()))
def test_some_families_again(zoo, row):
    """In a process of its own, as all of them."""
    zoo_survey.partner(zoo, 'child')
    zoo_survey.partner(zoo, 'parent')
    config, *_ = row['config'].partition(' (')
    found = zoo_survey.in_a_process(zoo, [config], seconds=240)
    for role in ('parent', 'child'):
        for key in ('works', 'sites', 'stages'):
            assert found[role].get(key) == row[role].get(key), (role, key)


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get('MMHKT_COVERAGE') != 'all',
    reason='takes an hour: make coverage')
def test_every_family_of_the_zoos(tmp_path):
    file = tmp_path / 'coverage.json'
    subprocess.run(
        [sys.executable, REPO / 'tools/maintenance/zoo_survey.py', file],
        check=True)
    assert json.loads(file.read_text()) == TABLE
