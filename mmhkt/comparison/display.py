# Copyright (c) mmhkt authors. All rights reserved.
"""How far all runs are, on the screen."""
import os
from contextlib import contextmanager
from pathlib import Path
from typing import (Callable, Dict, Iterator, List, NamedTuple, Optional,
                    Sequence, Tuple)

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (BarColumn, Progress, TaskProgressColumn, TextColumn,
                           TimeElapsedColumn, TimeRemainingColumn)
from rich.table import Table
from rich.text import Text

from mmhkt.utils import lock
from .plan import Plan, Run
from .records import FAILURE, curve_of, progress_of, read_record, state_of
from .statistics import add_statistics
from .view import View

STYLES = dict(
    finished='green',
    running='cyan',
    failed='red',
    diverged='red',
    waiting='dim')


class Standings:
    """Where runs are; looked up again only where something has changed, so
    that a look costs what the unfinished runs are, not what all were."""

    def __init__(self) -> None:
        self._known: Dict[tuple, Tuple[tuple, Standing]] = {}

    def of(self, run: Run, metric: Optional[str]) -> 'Standing':
        """Where a run is.

        Args:
            run (Run): The run.
            metric (str, optional): The score to show; None, its first.
        """
        key = run.folder, metric
        stamp, standing = self._known.get(key, (None, None))
        if standing is not None and standing.state == 'finished':
            return standing
        now = _stamp(run.folder)
        if standing is None or now != stamp:
            standing = standing_of(run, metric)
            self._known[key] = now, standing
        return standing


class Standing(NamedTuple):
    """Where a run is: its state, how much of it is done, from 0 to 1, whether
    it has begun, and its last score."""
    state: str
    progress: float
    begun: bool
    score: Optional[float]


def standing_of(run: Run, metric: Optional[str]) -> Standing:
    """Where a run is now."""
    record = read_record(run.folder)
    if metric is None:
        metric = next((name
                       for scores in record.get('validations', {}).values()
                       for name in scores), None)
    curve = curve_of(record, metric)
    return Standing(
        state_of(run.folder, record), progress_of(record), bool(record),
        curve[-1][1] if curve else None)


def _stamp(folder: Path) -> tuple:
    """Of what tells where a run is."""
    try:
        record = os.stat(folder / 'record.json')
    except FileNotFoundError:
        return False, lock.is_locked(folder), (folder / FAILURE).exists()
    return (record.st_mtime_ns, record.st_size, record.st_ino,
            lock.is_locked(folder), (folder / FAILURE).exists())


def table_of(plan: Plan,
             folders: bool = False,
             standings: Optional[Standings] = None) -> Table:
    """Methods down, seeds across; where each run is.

    Args:
        plan (Plan): The comparison.
        folders (bool): Name each run's folder too. Defaults to False.
        standings (Standings, optional): What is known already. Defaults to
            None, nothing.
    """
    standings = standings or Standings()
    table = Table(
        title=f'{plan.title}, judged by {plan.judged_by}',
        caption=f'in {plan.folder}' if folders else None)
    table.add_column('method')
    for seed in plan.seeds:
        table.add_column(f'seed {seed}', overflow='fold')

    def cell(run: Run) -> Text:
        standing = standings.of(run, plan.metric)
        words = [standing.state]
        if standing.state in ('running', 'waiting') and standing.begun:
            words.append(f'{standing.progress:.0%}')
        if standing.score is not None:
            words.append(f'{standing.score:.4g}')
        if folders:
            words.append(plan.within(run.folder))
        return Text(' '.join(words), style=STYLES[standing.state])

    if plan.parent is not None:
        table.add_row('(parent)', cell(plan.parent))
    cells: Dict[str, List[Text]] = {}
    for run in plan.runs:
        cells.setdefault(run.entry.name, []).append(cell(run))
    for entry in plan.entries:
        mark = ' (reference)' if entry.name == plan.reference else ''
        table.add_row(entry.name + mark, *cells[entry.name])
    return table


class _Kept:
    """What is drawn once, and shown again and again."""

    def __init__(self, tables: Sequence[Table]):
        self._tables = tables
        self._drawn: Dict[tuple, list] = {}

    def __rich_console__(self, console: Console, options) -> Iterator:
        key = options.max_width, options.encoding
        if key not in self._drawn:
            self._drawn[key] = [
                segment for table in self._tables
                for segment in console.render(table, options)
            ]
        yield from self._drawn[key]


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
    standings = Standings()
    shown: Optional[Dict[Path, Standing]] = None
    runs = [(run, plan.metric) for plan in plans for run in plan.everything]
    with Live(console=console, refresh_per_second=2) as live:

        def watch() -> None:
            nonlocal task, shown
            # Several budgets have one parent.
            now = {
                run.folder: standings.of(run, metric)
                for run, metric in runs
            }
            done = sum(standing.progress for standing in now.values())
            if task is None:
                task = progress.add_task('', total=len(now), completed=done)
            progress.update(task, completed=done)
            if now != shown:
                shown = now
                live.update(
                    Group(
                        _Kept([
                            table_of(plan, standings=standings)
                            for plan in plans
                        ]), progress))

        yield _teller(live.console), watch


def _teller(console: Console) -> Callable[[str], None]:

    def tell(line: str) -> None:
        # A log has its lines as they are.
        console.print(Text(line), soft_wrap=not console.is_terminal)

    return tell
