# Copyright (c) mmhkt authors. All rights reserved.
import csv
import hashlib
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import browse, check_views, find_browser

from mmhkt.comparison.report import (render_csv, render_latex, render_markdown,
                                     write_report)
from mmhkt.comparison.statistics import add_statistics
from mmhkt.comparison.view import time_taken

NAMES = ('alone', 'kd', 'fitnet', 'at', 'dkd', 'rkd', 'pkt', 'vid', 'cwd',
         'dist', 'hkt', 'lepoket')
HOSTILE = '<script>alert("1")</script>|**x**_y_ $\\frac$'


def sha(*key):
    return hashlib.sha256(repr(key).encode()).hexdigest()


def make_summary(names=NAMES, seeds=(0, 1, 2), higher=True, epochs=20):
    """A finished comparison: method i ends 0.8 (i - 3) points above the
    first one, which is the reference, more or less."""
    rng = np.random.default_rng(0)
    methods = []
    for i, name in enumerate(names):
        runs = []
        for seed in seeds:
            end = 70 + 0.5 * seed + 0.8 * (i - 3) * (i > 0)
            end += rng.normal(0, 0.5)
            rise = 1 - np.exp(-np.arange(1, epochs + 1) / 4)
            scores = end * rise + rng.normal(0, 0.6, epochs)
            if not higher:
                scores = 9 - scores / 10
            values = [round(float(score), 4) for score in scores]
            best = (max if higher else min)(values)
            runs.append(
                dict(
                    seed=seed,
                    state='finished',
                    folder=f'work_dirs/x/{name}/seed_{seed}',
                    curve=[[j + 1, v] for j, v in enumerate(values)],
                    last=values[-1],
                    best=best,
                    best_at=values.index(best) + 1,
                    error=None,
                    seconds=1800.,
                    initial_weights=sha('weights', seed),
                    batches={
                        str(iteration): sha('batches', seed, iteration)
                        for iteration in (1, 10, 100, 1000)
                    },
                    peak_memory=(900 + 60 * i) * 2**20))
        methods.append(
            dict(
                name=name,
                label=name.upper() if i else 'child alone',
                config=dict(
                    type='mmhkt.' + ('Alone' if name == 'alone' else name),
                    weights=dict(native=1.0)),
                runs=runs,
                cost=dict(
                    step=0.02 + 0.002 * i,
                    relative_step=1 + 0.1 * i,
                    relative_memory=1 + i / 15,
                    extra_parameters=4096 * i)))
    return dict(
        title='ResNet-56 → ResNet-20 on CIFAR-10',
        command='mmhkt compare configs/compare.py --seeds 0 1 2',
        metric=dict(
            name='accuracy/top1' if higher else 'EPE',
            higher_is_better=higher),
        unit='epoch',
        seeds=list(seeds),
        reference=names[0],
        refused=None,
        margin=None,
        environment=dict(
            torch='2.11.0',
            device='NVIDIA H200',
            threads=1,
            platform='Linux',
            mmhkt='0.2.0',
            precision='float32'),
        parent=dict(name='resnet56_cifar10', score=93.39 if higher else 1.1),
        deployed=dict(parameters=269722, flops=40813184),
        methods=methods)


def set_last(summary, values):
    """Set the last scores: method name -> one a seed."""
    for method in summary['methods']:
        for run, value in zip(method['runs'], values[method['name']]):
            run['last'] = value
    return summary


def stop(run, state, error=None):
    """Make a run one that has not finished."""
    run.update(
        state=state,
        error=error,
        last=None,
        best=None,
        best_at=None,
        curve=run['curve'][:4],
        seconds=None,
        batches={
            k: v
            for k, v in run['batches'].items() if int(k) < 100
        },
        peak_memory=None)


def make_partial_summary():
    summary = make_summary(NAMES[:4])
    runs = [method['runs'] for method in summary['methods']]
    stop(runs[0][1], 'running')
    stop(runs[1][2], 'failed', 'Traceback\n  ...\nRuntimeError: a < b | c\n')
    for run in runs[2]:
        stop(run, 'waiting')
        run.update(initial_weights=None, batches={}, curve=[])
    runs[3][0].update(last=math.nan)
    return summary


def written(summary, folder):
    """The four files' texts by their suffix."""
    folder.mkdir(exist_ok=True)
    paths = write_report(summary, folder)
    assert sorted(folder.iterdir()) == sorted(paths)
    return {path.suffix[1:]: path.read_text() for path in paths}


def markdown(summary):
    return render_markdown(add_statistics(summary))


def table_of(text):
    """The main table of the Markdown."""
    return '| method |' + text.split('| method |')[1].split('\n\n')[0]


def md_row(text, label):
    """The cells of a method's row."""
    row, = (
        line for line in table_of(text).splitlines()
        if line.replace('*', '').startswith(f'| {label} |'))
    return row.strip('| ').split(' | ')


class Outline(HTMLParser):
    """Texts of the tables by their id, number of figures by their class."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.figures, self.tags = {}, {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == 'table':
            self.tables[attributes['id']] = ''
        if tag == 'svg':
            name = attributes['class']
            self.figures[name] = self.figures.get(name, 0) + 1

    def handle_data(self, data):
        if self.tables:
            self.tables[list(self.tables)[-1]] += data


TABLES = {'results', 'seeds', 'fairness', 'environment'}
FIGURES = dict(differences=1, cost=1, curves=1, late=1)


def test_rows():
    summary = set_last(
        make_summary(('alone', 'kd', 'hkt', 'at')),
        dict(
            alone=[70, 71, 72],
            kd=[71, 73, 75],
            hkt=[74, 76, 78],
            at=[69, 69.8, 70.6]))
    text = markdown(summary)
    assert md_row(text, 'parent: resnet56_cifar10')[:3] == [
        'parent: resnet56_cifar10', '–', '93.39'
    ]
    alone = md_row(text, 'child alone')
    assert alone[1:3] == ['reference', '71.00 ± 1.00']
    assert alone[6:] == ['0.0200 (1.00×)', '0.879 GiB (1.00×)', '0']
    # 1, 2, 3: the interval 2 ± 4.303 / sqrt(3) holds zero.
    kd = md_row(text, 'KD')
    assert kd[:3] == ['KD', '+2.00 [−0.48, +4.48]', '73.00 ± 2.00']
    # 4, 5, 6: t = 8.66, p = 0.0131; times 2 that is less than the smallest
    # one times 3, which it may not be.
    hkt = md_row(text, 'HKT')
    assert hkt[:2] == ['**HKT**', '**+5.00 [+2.52, +7.48]**']
    assert hkt[3:5] == ['–', '0.027']
    # −1, −1.2, −1.4: t = 10.4, p = 0.00913.
    at = md_row(text, 'AT')
    assert at[:2] == ['AT', '−1.20 [−1.70, −0.70]'] and at[4] == '0.027'
    assert text.count('**') == 4
    for line in ('Better: HKT', 'Worse: AT', 'No difference shown: KD'):
        assert f'\n- {line}\n' in text
    assert 'adjusted for 3 methods by Holm' in text
    assert 'what the finite test set leaves open is not' in text.lower()
    assert 'seeds 0, 1, 2; 20 epochs of training' in text
    assert '269,722 parameters, 40,813,184 FLOPs' in text
    assert 'measured in one process, the methods alternating' in text
    assert '12 of 12 finished, 0 failed, 0 missing' in text
    assert ('All finished runs of a seed began from the same initial weights '
            'and saw the same batches.') in text
    assert f'{sha("weights", 2)[:8]} (4 runs)' in text
    assert text.endswith(f'    {summary["command"]}\n')


def test_lower_is_better():
    summary = set_last(
        make_summary(('alone', 'kd', 'hkt'), higher=False),
        dict(alone=[2, 2.1, 2.2], kd=[2.5, 2.6, 2.7], hkt=[1.5, 1.5, 1.6]))
    text = markdown(summary)
    assert 'EPE (lower is better)' in text
    # The same in all seeds: they do not tell how far it may lie elsewhere.
    assert md_row(text, 'KD')[1] == '+0.500'
    assert md_row(text, 'HKT')[1] == '**−0.567 [−0.710, −0.423]**'
    assert text.count('**') == 4


def test_what_was_computed_is_said():
    summary = set_last(
        make_summary(('alone', 'kd', 'hkt')),
        dict(alone=[70, 71, 72], kd=[74, 76, 78], hkt=[70.1, 71.1, 72.11]))
    summary['margin'] = 0.5
    for method, low in zip(summary['methods'][1:], (-1, 0.05)):
        method['test_set'] = dict(
            seeds=[0, 1, 2],
            images=10000,
            mean=1.,
            low=low,
            high=11.,
            p=0.2 if low < 0 else 0.0001,
            p_equivalent=1e-5)
    text = markdown(summary)
    kd, hkt = md_row(text, 'KD'), md_row(text, 'HKT')
    assert kd[1] == '+5.00 [+2.52, +7.48]' and kd[3] == '[−1.00, +11.00]'
    assert kd[4] == '0.200'
    assert hkt[1] == '+0.10 [+0.09, +0.12]' and hkt[4] == '0.002'
    assert '\n- Equivalent: HKT\n- No difference shown: KD\n' in text
    for words in ('another test set of 10,000 images', 'mixed model',
                  'the larger one of both tests', 'within ±0.5 by two',
                  'for fewer than 3 seeds'):
        assert words in text


def test_how_long_the_runs_have_trained():

    def said(number, seconds):
        run = dict(seconds=seconds)
        others = [dict(seconds=None), *[run] * number]
        return ' '.join(time_taken([dict(methods=[dict(runs=others)])]))

    assert ('By the time of their steps 1 finished run took 1 minute one'
            in said(1, 20.))
    assert '2 finished runs took 60 minutes one' in said(2, 1800.)
    assert '3 finished runs took 1.5 hours one' in said(3, 1800.)
    assert said(0, 1.) == ''
    assert '7 finished runs took 3.5 hours' in markdown(make_partial_summary())


def test_parent_that_is_worse_than_its_child():
    summary = make_summary(('alone', 'kd'))
    assert 'THE PARENT' not in markdown(summary)
    summary['parent']['score'] = 12.
    head = markdown(summary).split('| method |')[0]
    assert 'THE PARENT IS WORSE THAN ITS CHILD ALONE: 12.00, and child' in head
    # Whichever method the others are compared with.
    summary['reference'] = 'kd'
    assert 'ALONE: 12.00, and child alone' in markdown(summary)
    summary = make_summary(('alone', 'kd'), higher=False)
    summary['parent']['score'] = 0.1
    assert 'THE PARENT' not in markdown(summary)


def test_latex():
    summary = set_last(
        make_summary(('alone', 'hkt')),
        dict(alone=[70, 71, 72], hkt=[74, 76, 78]))
    summary['methods'][0]['label'] = 'a_b & 5 % {}\\'
    text = render_latex(add_statistics(summary))
    lines = [x for x in text.splitlines() if not x.startswith('%')]
    assert lines == [
        r'\begin{tabular}{lrrrr}', r'\toprule',
        r'method & difference to a\_b \& 5 \% \{\}\textbackslash{}, last epoch'
        r' & last epoch & 95 \% interval with other images & p, adjusted \\',
        r'\midrule', r'parent: resnet56\_cifar10 & -- & 93.39 & -- & -- \\',
        r'a\_b \& 5 \% \{\}\textbackslash{} & reference & 71.00 $\pm$ 1.00'
        r' & -- & -- \\',
        r'\textbf{HKT} & \textbf{+5.00 {[}+2.52, +7.48{]}} & 76.00 $\pm$ 2.00'
        r' & -- & 0.013 \\', r'\bottomrule', r'\end{tabular}'
    ]


def test_first_verdict_then_table_then_how_it_was_made(tmp_path):
    html = written(make_summary(NAMES[:3]), tmp_path)['html']
    places = [
        html.index(part)
        for part in ('class="conclusion"', 'id="results"', '>How it was made<',
                     'id="environment"', 'class="differences"')
    ]
    assert places == sorted(places)


def test_one_seed_proves_nothing(tmp_path):
    texts = written(make_summary(NAMES[:3], seeds=(10, )), tmp_path)
    assert '**' not in texts['md'] and '±' not in texts['md']
    assert 'One seed proves nothing' in texts['md']
    assert '; seed 10; ' in texts['md']
    assert re.fullmatch(r'[+−]\d+\.\d\d', md_row(texts['md'], 'KD')[1])
    assert '\n- No verdict: KD, FITNET\n' in texts['md']
    assert '<b>' not in texts['html'].split('<section')[1]


def test_partial_comparison(tmp_path):
    texts = written(make_partial_summary(), tmp_path)
    text = texts['md']
    assert md_row(text, 'child alone')[2].endswith('(2 of 3)')
    # Only seed 0 was finished by both, and by AT only seed 2.
    assert md_row(text, 'KD')[1].endswith('(1 of 3)')
    assert md_row(text, 'AT')[1].endswith('(1 of 3)')
    assert md_row(text, 'FITNET')[1:4] == ['–', '–', '–']
    assert '7 of 12 finished, 1 failed, 4 missing' in text
    assert 'failed or diverged are left out, which flatters' in text
    for row in ('| child alone | 1 | running |  |',
                '| KD | 2 | failed | RuntimeError: a &lt; b \\| c |',
                '| FITNET | 0 | waiting |  |',
                '| AT | 0 | finished | it has no score |'):
        assert row in text.splitlines()
    outline = Outline(texts['html'])
    assert set(outline.tables) == TABLES | {'unfinished'}
    assert 'RuntimeError: a < b | c' in outline.tables['unfinished']
    assert outline.figures == dict(FIGURES, panel=2)


def test_before_anything_is_finished(tmp_path):
    summary = make_summary(NAMES[:2])
    for method in summary['methods']:
        method['cost'] = dict.fromkeys(method['cost'])
        for run in method['runs']:
            stop(run, 'waiting')
            run.update(curve=[], initial_weights=None, batches={})
    summary.update(parent=None, deployed=dict(parameters=None, flops=None))
    texts = written(summary, tmp_path)
    assert md_row(texts['md'], 'KD') == ['KD'] + ['–'] * 8
    assert Outline(texts['html']).figures == {}


@pytest.mark.filterwarnings('error')
def test_figures_of_runs_that_diverged(tmp_path):
    summary = make_summary(NAMES[:4], seeds=(0, 1))
    for method, first in zip(summary['methods'][1:], (3, 15, 0)):
        for point in method['runs'][1]['curve'][first:]:
            point[1] = math.nan
    # Two seeds far apart have an interval beyond every other.
    set_last(
        summary,
        dict(
            alone=[70., 71.],
            kd=[70., 75.],
            fitnet=[math.nan, 71.],
            at=[math.nan] * 2))
    html = written(summary, tmp_path)['html']
    assert Outline(html).figures == dict(FIGURES, panel=3)


def test_one_method_and_no_reference(tmp_path):
    summary = make_summary(('alone', ))
    summary['reference'] = None
    texts = written(summary, tmp_path)
    assert '| difference, last epoch |' in texts['md']
    assert Outline(texts['html']).figures == dict(curves=1, late=1, panel=1)


def test_what_is_not_comparable_is_said_first():
    summary = make_summary(NAMES[:6])
    run = summary['methods'][2]['runs'][1]
    run.update(initial_weights='f' * 64, curve=run['curve'][:12])
    summary['deployed']['parameters'] = '269722, 5006'
    text = markdown(summary)
    head, tail = text.split('| method |')[0], text.split('## Initial')[1]
    assert ('The runs of seed 1 are not comparable: initial weights are '
            f'{sha("weights", 1)[:8]} for 5 runs, but ffffffff for FITNET.'
            ) in head
    assert 'not of the same length: they end after 12, 20 epochs' in head
    assert 'children are not the same: they have 269722, 5006' in head
    assert 'Not all runs of a seed began from the same' in tail


def test_json_holds_the_input_and_the_statistics(tmp_path):
    summary = make_partial_summary()
    text = written(summary, tmp_path)['json']
    # What is no JSON, as NaN, would be refused by other languages.
    done = json.loads(text, parse_constant=pytest.fail)
    assert done['methods'][1]['runs'] == summary['methods'][1]['runs']
    assert done['methods'][1]['difference']['seeds'] == [0]
    assert done['fairness'][0]['fair']
    assert add_statistics(done) == done


def test_csv_has_a_line_a_run():
    summary = make_partial_summary()
    summary['methods'][1]['name'] = 'kd, "2"'
    rows = list(
        csv.DictReader(render_csv(add_statistics(summary)).splitlines()))
    assert len(rows) == 12
    alone, kd, failed = rows[0], rows[3], rows[5]
    assert kd['method'] == 'kd, "2"' and kd['seed'] == '0'
    assert float(kd['difference_last']) == pytest.approx(
        float(kd['last']) - float(alone['last']))
    assert alone['difference_last'] == ''
    assert kd['initial_weights'] == sha('weights', 0)
    assert kd['batches'] == sha('batches', 0, 1000)
    assert kd['peak_memory'] == str(960 * 2**20)
    assert failed['state'] == 'failed' and failed['last'] == ''
    assert failed['batches'] == sha('batches', 2, 10)


def test_hostile_names_stay_text(tmp_path):
    summary = make_summary(NAMES[:4])
    for method in summary['methods'][::2]:
        method['label'] = HOSTILE
    summary['methods'][1]['label'] = '$\\frac$'
    summary.update(title=HOSTILE, command=f'a\n\n{HOSTILE}')
    summary['methods'][1]['config'] = dict(type=HOSTILE)
    summary['parent']['name'] = summary['environment']['device'] = HOSTILE
    stop(summary['methods'][3]['runs'][0], 'failed', HOSTILE)
    for run in summary['methods'][0]['runs']:
        curve = [[1, 1.], [2, 3.]]
        run['training'] = {
            f'hkt."><{HOSTILE}.a': curve,
            'hkt.\\g<9>.\\': curve,
            'gate': curve
        }
    texts = written(summary, tmp_path)
    outline = Outline(texts['html'])
    assert 'script' not in [tag for tag, _ in outline.tags]
    assert HOSTILE in outline.tables['results']
    # Markdown: but for the command, which is code, nothing is interpreted.
    plain = texts['md'].split('## Command')[0]
    assert not re.search('<(?! 0.001)', plain)
    assert '**' not in plain.replace('\\*', '')
    assert {
        len(re.findall(r'(?<!\\)\|', line))
        for line in table_of(plain).splitlines()
    } == {10}


def test_the_same_input_gives_the_same_bytes(tmp_path):
    first = written(make_summary(NAMES[:3]), tmp_path / 'a')
    second = written(make_summary(NAMES[:3]), tmp_path / 'b')
    assert first == second


def test_the_page_needs_nothing_else(tmp_path):
    html = written(make_summary(NAMES[:6]), tmp_path)['html']
    outline = Outline(html)
    assert set(outline.tables) == TABLES
    assert outline.figures == dict(FIGURES, panel=5)
    ids = [a['id'] for _, a in outline.tags if 'id' in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in outline.tags:
        assert tag != 'script' and 'src' not in attributes
        for key in ('href', 'xlink:href'):
            assert attributes.get(key, '#').startswith(('#', 'data:,'))
    assert not re.search(r'url\((?!#)|@import', html)


@pytest.mark.slow
def test_in_a_browser(tmp_path):
    browser = find_browser()
    loud = tmp_path / 'loud.html'
    loud.write_text('<script>console.log("heard")</script>')
    assert len(browse(browser, loud, tmp_path / 'profile')[1]) == 1

    summary = make_partial_summary()
    summary['methods'][1]['label'] = HOSTILE
    write_report(summary, tmp_path)
    dom, logged = browse(browser, tmp_path / 'comparison.html',
                         tmp_path / 'profile')
    assert logged == []
    outline = Outline(dom)
    assert set(outline.tables) == TABLES | {'unfinished'}
    assert outline.figures == dict(FIGURES, panel=2)
    assert 'script' not in [tag for tag, _ in outline.tags]
    assert [tag for tag, _ in outline.tags].count('details') == 4
    check_views(browser, tmp_path / 'comparison.html', tmp_path,
                '#results tbody tr:last-child td', dom.count('<svg'))


def test_inside_training(tmp_path):
    """Only of methods that log more than the child's own accuracy."""
    summary = make_summary(('alone', 'hkt', 'lepoket'), seeds=(0, 1))
    curve = [[10, 50.0], [20, 60.0], [30, 70.0]]
    names = dict(
        alone=['native.accuracy'],
        hkt=[
            'native.accuracy', 'hkt.inherited.accuracy', 'hkt.gate.neck',
            'hkt.gate.backbone.layer1', 'hkt.similarity.neck'
        ],
        lepoket=['native.accuracy', 'lepoket.inherited.accuracy'])
    for method in summary['methods']:
        for run in method['runs']:
            run['training'] = {name: curve for name in names[method['name']]}
    # A run that was not finished is left out.
    stop(summary['methods'][2]['runs'][0], 'running')
    html = written(summary, tmp_path)['html']
    found = Outline(html).figures
    assert {
        k: v
        for k, v in found.items() if k.startswith('training')
    } == {
        'training-accuracy': 2,
        'training-gate': 1,
        'training-similarity': 1
    }
    section = html.split('id="training"')[1].split('</section>')[0]
    for text in ('hkt.inherited', 'backbone.layer1', 'neck', 'iteration'):
        assert f'>{text}</text>' in section
    assert 'child alone' not in section
    assert 'id="training"' not in written(make_summary(NAMES[:3]),
                                          tmp_path)['html']
