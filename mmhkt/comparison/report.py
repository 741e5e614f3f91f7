# Copyright (c) mmhkt authors. All rights reserved.
import csv
import io
import pprint
import re
import textwrap
from pathlib import Path
from typing import List, Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mmhkt.utils.files import json_text, write_text
from mmhkt.utils.garbage import uncollected
from .examples import data_uri
from .plots import draw
from .statistics import add_statistics
from .view import VERDICTS, View, differences_by_seed


@uncollected()
def write_report(summary: dict, folder: Path) -> List[Path]:
    """Write a comparison for programs, spreadsheets, READMEs and browsers.

    Args:
        summary (dict): The comparison, finished or not; is not changed.
        folder (Path): Where to; pictures of examples are found there.

    Returns:
        list[Path]: ``comparison.json`` (with the statistics),
        ``comparison.csv`` (a line a run), ``comparison.md``,
        ``comparison.tex`` (a table for booktabs) and ``comparison.html`` (one
        file, which needs no other and no network).

    Raises:
        ValueError: If the reference is none of the methods.
    """
    summary = add_statistics(summary)
    texts = dict(
        json=json_text(summary, lines=4) + '\n',
        csv=render_csv(summary),
        md=render_markdown(summary),
        tex=render_latex(summary),
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
    lines = [
        f'# {markdown_text(summary["title"])}', '',
        markdown_text(view.subject), ''
    ]
    for warning in view.warnings:
        lines += [f'> {markdown_text(warning)}', '']
    for verdict, labels in view.conclusion:
        lines.append(
            f'- {VERDICTS[verdict]}: {markdown_text(", ".join(labels))}')
    lines += [''] * bool(view.conclusion)
    lines += markdown_table(view.columns, [[
        f'**{markdown_text(cell)}**'
        if row['bold'] and i in (0, 1) else markdown_text(cell)
        for i, cell in enumerate(row['cells'])
    ] for row in view.rows])
    lines += [''] + [f'- {markdown_text(note)}' for note in view.notes]
    lines += ['', '## How it was made', '']
    lines += [
        f'- {markdown_text(name)}: {markdown_text(value)}'
        for name, value in view.facts
    ]
    if view.unfinished:
        lines += ['', '## Runs without a last score', '']
        lines += markdown_table(
            ('method', 'seed', 'state', 'error'),
            [[markdown_text(cell) for cell in row] for row in view.unfinished])
    if view.examples:
        lines += ['', '## Examples', '', markdown_text(view.examples), '']
        lines += [f'- `{path}`' for path in view.example_folders]
    lines += [
        '', '## Initial weights and batches', '',
        markdown_text(view.fairness), ''
    ]
    lines += markdown_table(
        ('seed', 'initial weights', 'batches'),
        [[markdown_text(cell) for cell in row] for row in view.hashes])
    lines += [
        '', '## Command', '',
        textwrap.indent(summary['command'], '    ')
    ]
    return '\n'.join(lines) + '\n'


def environment_of_pages(*more: str) -> Environment:
    """What fills the templates in this folder in.

    Args:
        *more (str): Packages beside this one that have templates too.
    """
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(
            [here, *(here.with_name(name) for name in more)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True)
    # matplotlib has escaped the names in them.
    environment.filters['svg'] = Markup
    return environment


def render_latex(summary: dict) -> str:
    """The main table, to be put into a paper: needs the package booktabs.

    Args:
        summary (dict): A comparison with its statistics.
    """
    view = View(summary)
    shown = 5  # without costs
    lines = [f'% {_tex(note)}' for note in (view.subject, *view.notes)]
    lines += [
        f'\\begin{{tabular}}{{l{"r" * (shown - 1)}}}', '\\toprule',
        ' & '.join(map(_tex, view.columns[:shown])) + r' \\', '\\midrule'
    ]
    for row in view.rows:
        cells = [_tex(cell) for cell in row['cells'][:shown]]
        if row['bold']:
            cells[:2] = [f'\\textbf{{{cell}}}' for cell in cells[:2]]
        lines.append(' & '.join(cells) + r' \\')
    return '\n'.join([*lines, '\\bottomrule', '\\end{tabular}']) + '\n'


def render_html(summary: dict, folder: Path = Path()) -> str:
    """The same, the figures and the examples, in one page without scripts.

    Args:
        summary (dict): A comparison with its statistics.
        folder (Path): What the examples' files are relative to. Defaults to
            the current folder.
    """
    environment = environment_of_pages()
    environment.filters['python'] = lambda value: pprint.pformat(
        value, sort_dicts=False, width=72)
    environment.filters['uri'] = lambda file: data_uri(Path(folder, file))
    return environment.get_template('report.html').render(
        summary=summary,
        view=View(summary),
        verdicts=VERDICTS,
        figures=draw(summary))


# What LaTeX would take for a command, and signs that old engines lack.
TEX = {
    **{
        sign: f'\\{sign}'
        for sign in '&%$#_{}'
    }, '\\': '\\textbackslash{}',
    '[': '{[}',
    ']': '{]}',
    '~': '\\textasciitilde{}',
    '^': '\\textasciicircum{}',
    '<': '$<$',
    '>': '$>$',
    '|': '$|$',
    '−': '$-$',
    '±': '$\\pm$',
    '×': '$\\times$',
    '→': '$\\to$',
    '–': '--'
}


def _tex(value) -> str:
    text = ' '.join(str(value).split())
    return ''.join(TEX.get(sign, sign) for sign in text)


def markdown_text(value) -> str:
    """Text that Markdown shows as it is, also within a table."""
    text = ' '.join(str(value).split())
    text = text.replace('&', '&amp;').replace('<', '&lt;')
    # An underscore within a word is no emphasis.
    return re.sub(r'[\\`*|]|\](?=\()|(?<![^\W_])_|_(?![^\W_])', r'\\\g<0>',
                  text)


def markdown_table(head: Sequence[str],
                   rows: Sequence[Sequence[str]]) -> List[str]:
    """The lines of a table; the rows' cells are Markdown already."""
    lines = [[markdown_text(name) for name in head], ['---'] * len(head),
             *rows]
    return ['| ' + ' | '.join(cells) + ' |' for cells in lines]
