# Copyright (c) mmhkt authors. All rights reserved.
"""One table and one plot of all budgets."""
import csv
import io
import json
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np

from mmhkt.utils.files import write_text
from .budgets import in_words, length_of
from .plan import Plan
from .plots import draw_ladder
from .report import environment_of_pages, markdown_table, markdown_text
from .statistics import add_statistics
from .view import NOTHING, View, time_taken


def write_ladder(plan: Plan, rungs: Sequence[Plan],
                 summaries: Sequence[dict]) -> List[Path]:
    """Write the comparisons of several budgets side by side.

    Args:
        plan (Plan): With ``budgets``.
        rungs (Sequence[Plan]): Its budgets, see
            :func:`mmhkt.comparison.ladder.rungs_of`; as many as there are
            summaries.
        summaries (Sequence[dict]): What they have come to, see
            :func:`mmhkt.comparison.summary.summarise`.

    Returns:
        list[Path]: ``ladder.json``, ``.csv``, ``.md`` and ``.html``, in the
        plan's folder.
    """
    ladder = ladder_of(plan.title, summaries,
                       [plan.within(rung.folder) for rung in rungs],
                       [length_of(rung.entries[0].cfg)[0] for rung in rungs])
    texts = dict(
        json=json.dumps(ladder, indent=2, ensure_ascii=False) + '\n',
        csv=_csv(ladder),
        md=_markdown(ladder),
        html=environment_of_pages().get_template('ladder.html').render(
            ladder=ladder, figure=draw_ladder(ladder)))
    paths = []
    for suffix, text in texts.items():
        paths.append(plan.folder / f'ladder.{suffix}')
        write_text(paths[-1], text)
    return paths


def ladder_of(title: str, summaries: Sequence[dict], folders: List[str],
              lengths: Sequence[int]) -> dict:
    """All budgets as plain data: of each method a row of cells, a budget
    each, and where its difference to the reference changes its sign."""
    done = [add_statistics(summary) for summary in summaries]
    order = np.argsort(lengths, kind='stable')
    done = [done[i] for i in order]
    views = [View(summary, part='column') for summary in done]
    names = list(
        dict.fromkeys(m['name'] for summary in done
                      for m in summary['methods']))
    rows = []
    for name in names:
        cells, label = [], name
        for summary, view in zip(done, views):
            method = next((m for m in summary['methods'] if m['name'] == name),
                          None)
            cells.append(_cell(method, view, summary))
            label = method['label'] if method else label
        means = [cell['difference'] for cell in cells]
        rows.append(
            dict(
                name=name,
                label=label,
                cells=cells,
                crossings=crossings([lengths[i] for i in order], means)))
    return dict(
        title=title,
        subject=views[0].subject.split(';')[0] + '.',
        metric=done[0]['metric'],
        unit=done[0]['unit'],
        reference=next((summary['reference']
                        for summary in done if summary['reference']), None),
        seeds=done[0]['seeds'],
        budgets=[
            dict(
                length=int(lengths[i]),
                text=in_words(lengths[i], done[0]['unit']),
                folder=folders[i]) for i in order
        ],
        rows=rows,
        warnings=_warnings(views, [lengths[i] for i in order]),
        notes=_notes(views, rows))


def crossings(lengths: Sequence[int],
              differences: Sequence[Optional[float]]) -> List[float]:
    """Lengths of training at which the mean difference to the reference
    changes its sign, on straight lines between the budgets on a logarithmic
    scale of length.

    Args:
        lengths (Sequence[int]): Ascending.
        differences (Sequence[float | None]): One a budget.
    """
    found = []
    before, zero = None, None
    for x, d in zip(lengths, differences):
        if d is None:
            continue
        if d == 0:
            zero = x if zero is None else zero
            continue
        if before and before[1] * d < 0:
            share = before[1] / (before[1] - d)
            found.append(
                float(before[0] *
                      (x / before[0])**share if zero is None else zero))
        before, zero = (x, d), None
    return found


def _cell(method: Optional[dict], view: View, summary: dict) -> dict:
    if method is None or not method['last']['n']:
        return dict(
            text=NOTHING,
            more='',
            verdict=None,
            mean=None,
            std=None,
            difference=None)
    difference = method['difference'] or {}
    is_reference = method['name'] == summary['reference']
    return dict(
        text=view.spread(method['last']),
        more='reference' if is_reference else view.interval(difference),
        verdict=difference.get('verdict'),
        mean=method['last']['mean'],
        std=method['last']['std'],
        difference=difference.get('mean'))


def _warnings(views: List[View], lengths: Sequence[int]) -> List[str]:
    """Those of all columns; what is said of each is said once."""
    at: Dict[str, List[str]] = {}
    for view, length in zip(views, lengths):
        where = in_words(length, view.summary['unit'])
        for warning in view.warnings:
            at.setdefault(warning, []).append(where)
    warnings = [
        warning
        if len(where) == len(views) else f'At {" and ".join(where)}: {warning}'
        for warning, where in at.items()
    ]
    parents = {
        tuple(weights)
        for weights in (view.summary.get('parent_weights') for view in views)
        if weights
    }
    if len(parents) > 1:
        warnings.append('Not all columns had the same parent.')
    return warnings


def _notes(views: List[View], rows: List[dict]) -> List[str]:
    notes = [
        'Each column is a comparison of its own, with its own page; schedules '
        'of learning rate, warm-up, validations and methods are scaled with '
        'the length.', *max((view.reading for view in views), key=len),
        *time_taken([view.summary for view in views])
    ]
    if any(row['crossings'] for row in rows):
        notes.append(
            'A crossing is where the mean difference changes its sign, on '
            'straight lines between the budgets; it is known no better than '
            'the differences beside it.')
    return notes


def _csv(ladder: dict) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(
        ['method', 'length', 'mean', 'std', 'difference', 'verdict'])
    for row in ladder['rows']:
        for budget, cell in zip(ladder['budgets'], row['cells']):
            writer.writerow([
                row['name'], budget['length'], cell['mean'], cell['std'],
                cell['difference'], cell['verdict']
            ])
    return file.getvalue()


def _markdown(ladder: dict) -> str:
    head = [
        'method', *(budget['text'] for budget in ladder['budgets']),
        'crosses the reference at'
    ]
    rows = []
    for row in ladder['rows']:
        cells = [markdown_text(row['label'])]
        for cell in row['cells']:
            text = markdown_text(f'{cell["text"]} {cell["more"]}'.strip())
            better = cell['verdict'] == 'better'
            cells.append(f'**{text}**' if better else text)
        rows.append([*cells, ', '.join(f'{x:,.0f}' for x in row['crossings'])])
    lines = [
        f'# {markdown_text(ladder["title"])}', '',
        markdown_text(ladder['subject']), ''
    ]
    lines += [
        line for warning in ladder['warnings']
        for line in (f'> {markdown_text(warning)}', '')
    ]
    lines += markdown_table(head, rows) + ['']
    lines += [f'- {markdown_text(note)}' for note in ladder['notes']] + ['']
    lines += [
        f'- {budget["text"]}: '
        f'[{budget["folder"]}]({budget["folder"]}/comparison.md)'
        for budget in ladder['budgets']
    ]
    return '\n'.join(lines) + '\n'
