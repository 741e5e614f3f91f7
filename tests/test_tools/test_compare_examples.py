# Copyright (c) mmhkt authors. All rights reserved.
"""Comparisons from the config to the pictures in the page."""
import json
import os
import re
import shutil
import subprocess

import pytest
from example_helpers import flow_config
from helpers import dump, tool
from seg_helpers import tiny_config

from mmhkt.comparison import costs

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    monkeypatch.setattr(costs, 'ROUNDS', 2)


def compare(cfg, folder, **comparison):
    """Run one; its folder and its page."""
    cfg.pop('work_dir')
    cfg.comparison = dict(seeds=[0], examples=2, **comparison)
    dump(cfg, folder / 'my.py')
    tool(
        'compare.py',
        'my.py',
        cwd=folder,
        env={
            **os.environ, 'OMP_NUM_THREADS': '1'
        })
    folder = folder / 'work_dirs/my'
    return folder, (folder / 'comparison.html').read_text()


def in_browser(page, profile):
    """The page's DOM, where there is a browser, and what it complains of."""
    names = ('chromium', 'chromium-browser', 'google-chrome')
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f'none of {", ".join(names)} is installed')
    # What has not been decoded has no width.
    probe = page.with_name('probe.html')
    probe.write_text(
        page.read_text() +
        '<script>addEventListener("load", () => {document.title = [...'
        'document.images].map(i => i.naturalWidth).join()})</script>')
    done = subprocess.run([
        browser, '--headless', '--no-sandbox', '--disable-gpu',
        f'--user-data-dir={profile}', '--enable-logging=stderr', '--v=0',
        '--dump-dom',
        probe.as_uri()
    ],
                          capture_output=True,
                          text=True,
                          timeout=120)
    logged = [x for x in done.stderr.splitlines() if 'CONSOLE' in x]
    return done.stdout, logged


def captions(html):
    section = html.partition('<section id="examples">')[2].partition(
        '</section>')[0]
    return re.findall(r'<figcaption><b>(.*?)</b>', section)


def test_segmentation(tmp_path):
    folder, html = compare(
        tiny_config(tmp_path),
        tmp_path,
        methods=['mmhkt.Alone', 'mmhkt.HKT', 'mmhkt.KD'])
    labels = ['image', 'ground truth', 'parent', 'Alone', 'HKT', 'KD']
    assert captions(html) == 2 * labels
    assert not list(folder.glob('alone/seed_0/examples/*parent*'))
    found = json.loads((folder / 'comparison.json').read_text())['examples']
    for row in found['rows']:
        for cell in row['cells']:
            assert all((folder / file).is_file() for file in cell['files'])
    assert '## Examples' in (folder / 'comparison.md').read_text()

    dom, logged = in_browser(folder / 'comparison.html', tmp_path / 'profile')
    assert logged == []
    assert f'<title>{",".join(["64"] * 12)}</title>' in dom


def test_flow(tmp_path):
    folder, html = compare(
        flow_config(tmp_path), tmp_path, methods=['mmhkt.Alone'])
    assert captions(html) == 2 * ['image', 'ground truth', 'Alone']
    # Prediction and error map.
    dom, logged = in_browser(folder / 'comparison.html', tmp_path / 'profile')
    assert logged == []
    assert f'<title>{",".join(["48"] * 8)}</title>' in dom
