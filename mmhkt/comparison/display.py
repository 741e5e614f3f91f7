# Copyright (c) mmhkt authors. All rights reserved.
"""How far all runs are, on the screen."""
from contextlib import contextmanager
from typing import Callable, Iterator, Optional, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (BarColumn, Progress, TaskProgressColumn, TextColumn,
                           TimeElapsedColumn, TimeRemainingColumn)
from rich.table import Table
from rich.text import Text

from .plan import Plan, Run
from .records import curve_of, progress_of, read_record, state_of
from .statistics import add_statistics
from .view import View

STYLES = dict(
    finished='green',
    running='cyan',
    failed='red',
    diverged='red',
    waiting='dim')


def table_of(plan: Plan, folders: bool = False) -> Table:
    """Methods down, seeds across; where each run is.

    Args:
        plan (Plan): The comparison.
        folders (bool): Name each run's folder too. Defaults to False.
    """
    table = Table(
        title=f'{plan.title}, judged by {plan.judged_by}',
        caption=f'in {plan.folder}' if folders else None)
    table.add_column('method')
    for seed in plan.seeds:
        table.add_column(f'seed {seed}', overflow='fold')
    if plan.parent is not None:
        table.add_row('(parent)', _cell(plan, plan.parent, folders))
    for entry in plan.entries:
        mark = ' (reference)' if entry.name == plan.reference else ''
        table.add_row(
            entry.name + mark, *[
                _cell(plan, run, folders) for run in plan.runs
                if run.entry is entry
            ])
    return table


def _cell(plan: Plan, run: Run, folder: bool) -> Text:
    record = read_record(run.folder)
    state = state_of(run.folder, record)
    words = [state]
    if state in ('running', 'waiting') and record:
        words.append(f'{progress_of(record):.0%}')
    scores = record.get('validations', {})
    metric = plan.metric or next(
        (name for score in scores.values() for name in score), None)
    curve = curve_of(record, metric)
    if curve:
        words.append(f'{curve[-1][1]:.4g}')
    if folder:
        words.append(run.folder.relative_to(plan.folder).as_posix())
    return Text(' '.join(words), style=STYLES[state])


def results_of(summary: dict) -> Table:
    """The table of the report, as far as it fits on a screen.

    Args:
        summary (dict): See :func:`mmhkt.comparison.summary.summarise`.
    """
    view = View(add_statistics(summary))
    table = Table(title=view.subject)
    shown = 6  # without costs
    for column in view.columns[:shown]:
        table.add_column(column)
    for row in view.rows:
        table.add_row(
            *map(escape, row['cells'][:shown]),
            style='bold' if row['bold'] else None)
    return table


@contextmanager
def display(plans: Sequence[Plan], console: Console) -> Iterator[tuple]:
    """Show the state of all runs while they go on.

    Yields:
        tuple: ``tell``, a function that prints a line, and ``watch``, one
        that brings the screen up to date. On what is no terminal only lines
        are printed.
    """
    if not console.is_terminal:
        yield _teller(console), lambda: None
        return
    # Several budgets have one parent.
    runs = {run.folder: run for p in plans for run in p.everything}.values()
    progress = Progress(
        TextColumn('all runs'),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn('left'),
        TimeRemainingColumn(),
        # Runs of several lengths go on at once; a short look would jump.
        speed_estimate_period=600)
    task: Optional[int] = None
    with Live(console=console, refresh_per_second=2) as live:

        def watch() -> None:
            nonlocal task
            done = sum(progress_of(read_record(run.folder)) for run in runs)
            if task is None:
                task = progress.add_task('', total=len(runs), completed=done)
            progress.update(task, completed=done)
            live.update(Group(*map(table_of, plans), progress))

        yield _teller(live.console), watch


def _teller(console: Console) -> Callable[[str], None]:

    def tell(line: str) -> None:
        # A log has its lines as they are.
        console.print(Text(line), soft_wrap=not console.is_terminal)

    return tell
