# Copyright (c) mmhkt authors. All rights reserved.
"""Pictures of several runs beside each other, and in the page."""
import base64
import json
import re
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers import CONFIGS

from mmhkt.comparison.examples import WIDTH, collect_examples, data_uri
from mmhkt.comparison.plan import Plan, make_plan
from mmhkt.comparison.report import render_markdown, write_report
from mmhkt.comparison.run_configs import write_configs
from mmhkt.comparison.statistics import add_statistics
from mmhkt.utils.config import ConfigError
from mmhkt.utils.files import Damaged

DIGITS = CONFIGS / 'hkt/hkt_resnet20_resnet8-narrow_digits.py'
HOSTILE = '<script>alert("1")</script>'


def draw(folder, names, who=('image', 'truth', 'child'), width=600):
    """What the hook leaves, in a run's folder."""
    folder = folder / 'examples'
    folder.mkdir(parents=True)
    samples = []
    for i, name in enumerate(names):
        sample = dict(name=name)
        for what in who:
            file = f'{i:02d}_{what}.png'
            image = np.full((30, width, 3), 40 * i, np.uint8)
            cv2.imwrite(str(folder / file), image)
            sample[what] = dict(files=[file], caption=f'{what} of {name}')
        samples.append(sample)
    (folder / 'examples.json').write_text(
        json.dumps(
            dict(
                task='segmentation',
                note='A note.',
                classes=[['road', [128, 64, 128]]],
                samples=samples)))


@pytest.fixture
def plan(tmp_path):
    entries = [
        SimpleNamespace(name=n, label=n.upper(), cfg={}) for n in ('a', 'b')
    ]
    return Plan('t', tmp_path, entries, [7, 8], 'a', examples=2)


def summary_of(plan):
    """What the report needs beside the examples, as it is before any run."""
    score = dict(
        step=None,
        relative_step=None,
        relative_memory=None,
        extra_parameters=None)
    run = dict(
        state='waiting',
        folder='',
        curve=[],
        last=None,
        best=None,
        best_at=None,
        error=None,
        seconds=None,
        initial_weights=None,
        batches={},
        peak_memory=None)
    return dict(
        title='t',
        command='c',
        metric=dict(name='mIoU', higher_is_better=True),
        unit='epoch',
        seeds=list(plan.seeds),
        reference='a',
        environment={},
        parent=None,
        deployed=dict(parameters=None, flops=None),
        methods=[
            dict(
                name=e.name,
                label=e.label,
                config=None,
                cost=score,
                runs=[dict(run, seed=s) for s in plan.seeds])
            for e in plan.entries
        ],
        examples=collect_examples(plan))


def page(plan):
    """Markdown and HTML of a plan's report."""
    write_report(summary_of(plan), plan.folder)
    return [(plan.folder / f'comparison.{suffix}').read_text()
            for suffix in ('md', 'html')]


def test_beside_each_other(plan, tmp_path):
    draw(tmp_path / 'a/seed_7', ['x.png', 'y.png'])
    draw(tmp_path / 'b/seed_7', ['x.png', 'y.png'],
         ('image', 'truth', 'child', 'parent'))
    draw(tmp_path / 'b/seed_8', ['z.png'])  # not of the first seed
    found = collect_examples(plan)
    assert found['seed'] == 7 and found['note'] == 'A note.'
    assert found['classes'] == [['road', [128, 64, 128]]]
    assert [row['name'] for row in found['rows']] == ['x.png', 'y.png']
    for row in found['rows']:
        assert [cell['label'] for cell in row['cells']
                ] == ['image', 'ground truth', 'parent', 'A', 'B']
    # The reference has no parent; it is another run's.
    cells = found['rows'][1]['cells']
    assert cells[2]['files'] == ['b/seed_7/examples/01_parent.png']
    assert cells[3]['files'] == ['a/seed_7/examples/01_child.png']
    assert cells[3]['caption'] == 'child of y.png'


@pytest.mark.parametrize('change, why', [
    (dict(name=None), 'name'),
    (dict(image=dict(caption='', files=['../../private.png'])),
     'is no file beside it'),
    (dict(image=dict(caption='', files=['/private.png'])),
     'is no file beside it'),
    (dict(image=dict(files=[])), 'must be a list of Sample'),
])
def test_an_index_of_other_things(plan, tmp_path, change, why):
    draw(tmp_path / 'a/seed_7', ['x.png'])
    path = tmp_path / 'a/seed_7/examples/examples.json'
    index = json.loads(path.read_text())
    index['samples'][0].update(change)
    path.write_text(json.dumps(index))
    with pytest.raises(Damaged, match=why):
        collect_examples(plan)


def test_others_are_not_taken_for_the_same(plan, tmp_path):
    draw(tmp_path / 'a/seed_7', ['x.png', 'y.png'])
    draw(tmp_path / 'b/seed_7', ['x.png'])
    rows = collect_examples(plan)['rows']
    assert [len(row['cells']) for row in rows] == [4, 3]
    shutil.rmtree(tmp_path / 'b')
    assert [c['label'] for c in collect_examples(plan)['rows'][0]['cells']
            ] == ['image', 'ground truth', 'A']


def test_page_with_examples(plan, tmp_path):
    draw(tmp_path / 'a/seed_7', ['x.png', HOSTILE])
    draw(tmp_path / 'b/seed_7', ['x.png', HOSTILE])
    (tmp_path / 'b/seed_7/examples/00_child.png').unlink()
    md, html = page(plan)
    section = html.partition('<section id="examples">')[2].partition(
        '</section>')[0]
    sources = re.findall(r'src="(.*?)"', section)
    # Two samples of four pictures, of which one has been lost.
    assert len(sources) == 7
    assert all(s.startswith('data:image/webp;base64,') for s in sources)
    assert 'b/seed_7/examples/00_child.png is missing' in section
    assert section.count('<b>A</b>') == section.count('<b>B</b>') == 2
    assert 'rgb(128, 64, 128)' in section and 'A note.' in section
    assert 'child of x.png' in section
    # One file: nothing is asked of the network or of a disk.
    assert set(re.findall(r'src="(\w+):', html)) == {'data'}
    assert HOSTILE not in html
    assert '2 samples, spread evenly' in md
    assert '- `a/seed_7/examples`\n- `b/seed_7/examples`' in md
    assert 'base64' not in md
    assert page(plan)[1] == html


def test_page_without(plan):
    md, html = page(plan)
    assert summary_of(plan)['examples'] is None
    assert 'xamples' not in md and 'id="examples"' not in html
    # And of summaries from before there were any.
    summary = add_statistics(summary_of(plan))
    del summary['examples']
    assert render_markdown(summary) == md


def test_pictures_are_made_smaller(tmp_path):
    draw(tmp_path, ['x'], ['image'], width=3 * WIDTH)
    uri = data_uri(tmp_path / 'examples/00_image.png')
    code = base64.b64decode(uri.partition(',')[2])
    image = cv2.imdecode(np.frombuffer(code, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[:2] == (10, WIDTH)
    (tmp_path / 'broken.png').write_text('no picture')
    assert data_uri(tmp_path / 'broken.png') is None
    assert data_uri(tmp_path / 'absent.png') is None


def make(folder, examples):
    path = folder / 'my.py'
    path.write_text(f"_base_ = '{DIGITS}'\ncomparison = dict("
                    f"methods=['mmhkt.HKT'], train_parent=True{examples})\n")
    return make_plan([str(path)])


def hooks_of(run):
    return [hook['type'] for hook in run.config().custom_hooks]


def test_how_many_is_set_and_may_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    none = make(tmp_path, ', examples=0')
    write_configs(none)
    before = none.runs[0].config_file.read_text()
    assert 'ExamplesHook' not in before
    some = make(tmp_path, ', examples=3')
    assert some.examples == 3
    assert hooks_of(some.runs[1]) == ['mmhkt.RecordHook', 'mmhkt.ExamplesHook']
    assert hooks_of(some.parent) == ['mmhkt.RecordHook']
    # It changes no training: neither refused nor kept as it was.
    write_configs(some)
    text = some.runs[0].config_file.read_text()
    assert "number=3, type='mmhkt.ExamplesHook'" in text
    write_configs(none)
    assert none.runs[0].config_file.read_text() == before
    assert make(tmp_path, '').examples == 4


@pytest.mark.parametrize('number', ['-1', 'True', "'4'"])
def test_how_many_is_no_number(tmp_path, number):
    with pytest.raises(ConfigError, match='examples must be a whole'):
        make(tmp_path, f', examples={number}')
