# Copyright (c) mmhkt authors. All rights reserved.
import csv
import io
import json
import pprint
import re
import textwrap
from pathlib import Path
from typing import List, Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mmhkt.utils.files import write_text
from .examples import data_uri
from .plots import draw
from .statistics import add_statistics
from .view import VERDICTS, View, differences_by_seed


def write_report(summary: dict, folder: Path) -> List[Path]:
    """Write a comparison for programs, spreadsheets, READMEs and browsers.

    Args:
        summary (dict): The comparison, finished or not; is not changed.
        folder (Path): Where to; pictures of examples are found there.

    Returns:
        list[Path]: ``comparison.json`` (with the statistics),
        ``comparison.csv`` (a line a run), ``comparison.md`` and
        ``comparison.html`` (one file, which needs no other and no network).

    Raises:
        ValueError: If the reference is none of the methods.
    """
    summary = add_statistics(summary)
    texts = dict(
        json=json.dumps(summary, indent=2, ensure_ascii=False) + '\n',
        csv=render_csv(summary),
        md=render_markdown(summary),
        html=render_html(summary, folder))
    paths = []
    for suffix, text in texts.items():
        paths.append(Path(folder) / f'comparison.{suffix}')
        write_text(paths[-1], text)
    return paths


def render_csv(summary: dict) -> str:
    """A line a run.

    Args:
        summary (dict): A comparison with its statistics.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow([
        'method', 'seed', 'state', 'last', 'best', 'best_at',
        'difference_last', 'initial_weights', 'batches', 'peak_memory'
    ])
    for method in summary['methods']:
        differences = differences_by_seed(method['difference'])
        for run in method['runs']:
            iterations = sorted(run['batches'], key=int)
            writer.writerow([
                method['name'], run['seed'], run['state'], run['last'],
                run['best'], run['best_at'],
                differences.get(run['seed']), run['initial_weights'],
                run['batches'][iterations[-1]] if iterations else None,
                run['peak_memory']
            ])
    return file.getvalue()


def render_markdown(summary: dict) -> str:
    """The table and what has to be known to read it.

    Args:
        summary (dict): A comparison with its statistics.
    """
    view = View(summary)
    lines = [f'# {_md(summary["title"])}', '', _md(view.subject), '']
    for warning in view.warnings:
        lines += [f'> {_md(warning)}', '']
    for verdict, labels in view.conclusion:
        lines.append(f'- {VERDICTS[verdict]}: {_md(", ".join(labels))}')
    lines += [''] * bool(view.conclusion)
    lines += _md_table(view.columns, [[
        f'**{_md(cell)}**' if row['bold'] and i in (0, 1) else _md(cell)
        for i, cell in enumerate(row['cells'])
    ] for row in view.rows])
    lines += [''] + [f'- {_md(note)}' for note in view.notes]
    if view.unfinished:
        lines += ['', '## Runs without a last score', '']
        lines += _md_table(
            ('method', 'seed', 'state', 'error'),
            [[_md(cell) for cell in row] for row in view.unfinished])
    if view.examples:
        lines += ['', '## Examples', '', _md(view.examples), '']
        lines += [f'- `{path}`' for path in view.example_folders]
    lines += ['', '## Initial weights and batches', '', _md(view.fairness), '']
    lines += _md_table(('seed', 'initial weights', 'batches'),
                       [[_md(cell) for cell in row] for row in view.hashes])
    lines += ['', '## Environment', '']
    lines += [f'- {_md(name)}: {_md(value)}' for name, value in view.facts]
    lines += [
        '', '## Command', '',
        textwrap.indent(summary['command'], '    ')
    ]
    return '\n'.join(lines) + '\n'


def render_html(summary: dict, folder: Path = Path()) -> str:
    """The same, the figures and the examples, in one page without scripts.

    Args:
        summary (dict): A comparison with its statistics.
        folder (Path): What the examples' files are relative to. Defaults to
            the current folder.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True)
    environment.filters['python'] = lambda value: pprint.pformat(
        value, sort_dicts=False, width=72)
    environment.filters['uri'] = lambda file: data_uri(Path(folder, file))
    # matplotlib has escaped the names in them.
    environment.filters['svg'] = Markup
    return environment.get_template('report.html').render(
        summary=summary,
        view=View(summary),
        verdicts=VERDICTS,
        figures=draw(summary))


def _md(value) -> str:
    """Text that Markdown shows as it is, also within a table."""
    text = ' '.join(str(value).split())
    text = text.replace('&', '&amp;').replace('<', '&lt;')
    # An underscore within a word is no emphasis.
    return re.sub(r'[\\`*|]|\](?=\()|(?<![^\W_])_|_(?![^\W_])', r'\\\g<0>',
                  text)


def _md_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> List[str]:
    lines = [[_md(name) for name in head], ['---'] * len(head), *rows]
    return ['| ' + ' | '.join(cells) + ' |' for cells in lines]
