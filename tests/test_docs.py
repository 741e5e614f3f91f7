# Copyright (c) mmhkt authors. All rights reserved.
"""What docs/methods.md shows works, and what it says of defaults holds."""
import re
import subprocess
import sys
from fractions import Fraction

import pytest
import torch
from helpers import CONFIGS, REPO

import mmhkt.methods  # noqa: F401  fills the registry
from mmhkt.models import Parent
from mmhkt.registry import METHODS
from mmhkt.runner.inheritance_runner import build_methods
from mmhkt.utils.config import load_config

TEXT = (REPO / 'docs' / 'methods.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)
OURS = [block for block in BLOCKS if block.startswith('# mmhkt')]
THEIRS = [block for block in BLOCKS if block.startswith('# MMRazor')]
REFERENCE = TEXT.partition('## Reference')[2]


def test_side_by_side():
    assert len(OURS) == len(THEIRS) == 4
    for block in BLOCKS:
        compile(block, 'docs/methods.md', 'exec')
    for block in OURS:
        settings = {}
        exec(block, settings)
        assert build_methods(settings['method'])


def test_whole_config(tmp_path):
    path = tmp_path / 'child.py'
    path.write_text(OURS[0])
    cfg = load_config(path)
    assert cfg.model.backbone.depth == 18
    assert load_config(cfg.parent.config).model.backbone.depth == 34


@pytest.mark.parametrize('name', METHODS.module_dict)
def test_every_method_has_its_row(name):
    if name == 'Alone':
        return
    row = next(r for r in REFERENCE.splitlines()
               if r.startswith(f'| `{name}`'))
    method = METHODS.get(name)
    written = {
        term: float(Fraction(weight))
        for term, weight in re.findall(r'(\w+) (\d[\d.e/-]*)', row)
        if term in method.default_weights
    }
    assert written == method.default_weights
    assert ('warm-up 1/12' in row) == any(
        cfg.get('end') == 1 / 12 for cfg in method.default_schedule)
    if method.default_sites is None:
        return
    # Of all methods of a section, or of each.
    section = REFERENCE[:REFERENCE.index(row)].rpartition('### ')[2]
    introduction = section.partition('\n|')[0]
    assert f"'{method.default_sites}'" in introduction + row


def test_checkpoint_of_mmrazor(tmp_path):
    """The lines given there make it one of ours."""
    parent = dict(config=str(CONFIGS / 'alone/resnet8-narrow_digits.py'))
    network = Parent.from_cfg(dict(parent, random_weights=True)).network
    weights = network.state_dict()
    mixed = {
        f'{prefix}.{key}': value
        for prefix in ('architecture', 'teacher')
        for key, value in weights.items()
    }
    torch.save(dict(state_dict=mixed), tmp_path / 'razor.pth')
    with pytest.raises(ValueError, match='foreign'):
        Parent.from_cfg(dict(parent, checkpoint=str(tmp_path / 'razor.pth')))

    lines = next(block for block in BLOCKS if 'razor.pth' in block)
    for name in ('razor.pth', 'child.pth'):
        lines = lines.replace(f"'{name}'", repr(str(tmp_path / name)))
    exec(lines, {})
    parent['checkpoint'] = str(tmp_path / 'child.pth')
    loaded = Parent.from_cfg(parent).network.state_dict()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)


def test_keys_of_the_benchmarks():
    """Those of RepDistiller and mdistiller, whose ResNets are ours with
    projection shortcuts."""
    pairs = eval(
        re.search(r'`revise_keys = (\[\(r\'\^fc.*?\])`', TEXT, re.DOTALL)[1])
    cfg = load_config(CONFIGS / 'alone/resnet20_240e_cifar100.py')
    cfg.model.backbone.shortcut = 'B'
    network = Parent.from_cfg(dict(config=cfg, random_weights=True)).network
    assert sum(p.numel() for p in network.parameters()) == 278324
    for key in network.state_dict():
        theirs = key.removeprefix('backbone.').removeprefix('head.')
        for pattern, replacement in pairs:
            theirs = re.sub(pattern, replacement, theirs)
        assert theirs == key


@pytest.mark.parametrize('path', re.findall(r'\]\(((?!http|#)[^)]+)\)', TEXT))
def test_links(path):
    assert (REPO / 'docs' / path).exists()


@pytest.mark.parametrize('anchor', re.findall(r'\]\(#([^)]+)\)', TEXT))
def test_anchors(anchor):
    headings = re.findall(r'^#+ (.*)$', TEXT, re.MULTILINE)
    assert anchor in [
        re.sub(r'[^\w -]', '', h).lower().replace(' ', '-') for h in headings
    ]


# A figure of our own, or a row of a table with a measured number.
RESULT = re.compile(
    r'!\[[^]]*\]\(\S*figures/(?!step\.svg)|'
    r'^\|.*(?:\xb1|\d\.\d|[+\u2212]\d)', re.MULTILINE)
COMMAND = re.compile(
    r'(?:mmhkt|tools/|make) ?(?:train|test|compare|benchmark|inspect|demo|'
    'maintenance/across)')
MEASURED = [
    'README.md', 'docs/evidence.md', 'docs/flow.md', 'docs/inheritance.md',
    'docs/results.md', 'docs/segmentation.md', 'docs/visualization.md',
    *(f'docs/evidence/{page.name}'
      for page in sorted((REPO / 'docs/evidence').glob('*.md')))
]


def sections(path):
    """Text under each heading, by the anchor that leads there."""
    parts = re.split(
        r'^#+ (.*)$', path.read_text(encoding='utf-8'), flags=re.MULTILINE)
    headings = ['', *parts[1::2]]
    return {
        re.sub(r'[^\w -]', '', h).lower().replace(' ', '-'): text
        for h, text in zip(headings, parts[::2])
    }


@pytest.mark.parametrize('name', MEASURED)
def test_results_stand_beside_their_command(name):
    """In the same section, or in one that it links to."""
    path = REPO / name
    for heading, text in sections(path).items():
        if not RESULT.search(re.sub(r'```.*?```', '', text, flags=re.DOTALL)):
            continue
        linked = []
        for page, anchor in re.findall(
                r'\]\(((?:[^)#:]*\.md)?)(?:#([^)]+))?\)', text):
            found = sections(path.parent / page if page else path)
            linked += [found[anchor]] if anchor else found.values()
        assert any(map(COMMAND.search, [text, *linked])), heading


@pytest.mark.parametrize(
    'path',
    sorted((REPO / 'docs/comparisons').glob('*/comparison.md')),
    ids=lambda path: path.parent.name)
def test_reports_end_with_their_command(path):
    last = path.read_text(encoding='utf-8').splitlines()[-1]
    assert re.search(r'compare(\.py)? (configs/|mmhkt::)', last)


def test_dead_links_of_the_site_are_found(tmp_path):

    def check():
        return subprocess.run(
            [sys.executable, REPO / 'docs/check_links.py', tmp_path],
            capture_output=True,
            text=True)

    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/b.html').write_text('<h1 id="one">1</h1>')
    page = tmp_path / 'index.html'
    page.write_text('<a href="a/b.html#one">1</a><a href="https://x.y/z">2</a>'
                    '<a href="#">3</a>')
    done = check()
    assert done.returncode == 0
    assert done.stdout == '2 pages, 2 links inside, 0 dead\n'
    page.write_text(page.read_text() + '<a href="a/b.html#two">4</a>'
                    '<img src="no.svg">')
    done = check()
    assert done.returncode == 1
    assert done.stderr == 'index.html: a/b.html#two\nindex.html: no.svg'
    assert done.stdout == '2 pages, 4 links inside, 2 dead\n'
