# Copyright (c) mmhkt authors. All rights reserved.
"""The figures of a comparison, as SVG to be put into a page.

The same input gives the same bytes, whatever matplotlib is set to elsewhere.
"""
import io
import re
from typing import Dict, List, Optional, Sequence, Tuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

# Taken for the page's own variables, which follow its light or dark theme.
THEME = {'#101418': 'ink', '#68707a': 'muted', '#d5d9df': 'rule'}
INK, MUTED, RULE = THEME
BETTER, WORSE = '#2b74d4', '#cf5a2b'
# Readable on white and on black; from the eleventh on, lines are dashed.
PALETTE = ('#2b74d4', '#cf5a2b', '#2c9a63', '#c0479a', '#8a63d2', '#a88412',
           '#1798a6', '#c93f4c', '#6d8f2a', '#8c6a56', '#5c8fbf', '#b8763d',
           '#4fa388', '#b5699f', '#7d7bb8', '#8f8a3c', '#3f8791', '#b8636b',
           '#7f9a5c', '#7a7f87')
STYLE = {
    'svg.fonttype': 'none',  # the page's font, and text that can be found
    'text.parse_math': False,  # a name with "$" is no formula
    'font.size': 9,
    'text.color': INK,
    'axes.labelcolor': MUTED,
    'axes.edgecolor': RULE,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': RULE,
    'grid.linewidth': 0.5,
    'xtick.color': RULE,
    'ytick.color': RULE,
    'xtick.labelcolor': MUTED,
    'ytick.labelcolor': MUTED,
    'xtick.labelsize': 8.5,
    'ytick.labelsize': 8.5,
    'xtick.major.width': 0.5,
    'ytick.major.width': 0.5,
    'ytick.major.size': 0,
    'axes.linewidth': 0.8,
    'lines.linewidth': 1.4,
    'lines.solid_capstyle': 'round',
}
WIDTH = 5.0  # inches; 9 pt are then still readable on a phone
LINE = 0.17  # inches between names below one another


def draw(summary: dict) -> Dict[str, object]:
    """All figures.

    Args:
        summary (dict): A comparison with its statistics.

    Returns:
        dict: SVG elements. ``curves`` (all of training and its second half)
        and ``panels`` (pairs of a method's label and its curve), two lists;
        ``differences`` and ``cost``, each None if there is nothing to show;
        and ``training``, pairs of a method's label and pairs of what is shown
        and its figure, of the methods that inherit.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        curves = _curves(summary)
        return dict(
            curves=[
                _draw_curves(summary, curves, late) for late in (False, True)
            ] if curves else [],
            panels=_draw_panels(summary, curves),
            training=_draw_training(summary),
            differences=_draw_differences(summary),
            cost=_draw_cost(summary))


def _look(summary: dict) -> Dict[str, dict]:
    """Colour and dashes of each method; the reference is grey."""
    others = [
        method['name'] for method in summary['methods']
        if method['name'] != summary['reference']
    ]
    look = {
        name:
        dict(
            color=PALETTE[i % len(PALETTE)],
            linestyle='-' if i < 10 else (0, (4, 1.5)))
        for i, name in enumerate(others)
    }
    look[summary['reference']] = dict(color=MUTED, linestyle='-')
    return look


def _curves(summary: dict) -> Dict[str, Tuple[np.ndarray, np.ndarray]]:
    """Steps and scores (seeds x steps) of the finished runs of a method."""
    curves = {
        method['name']:
        _joined([run['curve'] for run in method['runs'] if _finished(run)])
        for method in summary['methods']
    }
    return {name: curve for name, curve in curves.items() if curve}


def _finished(run: dict) -> bool:
    return run['state'] == 'finished'


def _joined(
        curves: Sequence[Sequence]) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """Steps that all runs have, and the values there (runs x steps); None
    for fewer than two."""
    runs = [dict(map(tuple, curve)) for curve in curves]
    steps = sorted(set.intersection(*map(set, runs))) if runs else []
    if len(steps) < 2:
        return None
    return np.array(steps), np.array([[run[step] for step in steps]
                                      for run in runs],
                                     dtype=float)


def _draw_curves(summary: dict, curves: dict, late: bool) -> str:
    height = max(3.4, len(curves) * LINE + 0.7)
    figure, axes = make_figure(height, left=0.55, right=1.7)
    look, ends, last = _look(summary), [], _end(curves)
    first = last / 2 if late else 0
    for method in summary['methods']:
        if method['name'] not in curves:
            continue
        curve, line = curves[method['name']], look[method['name']]
        _line_with_band(axes, *curve, line)
        ends += _end_of(*curve, method['label'], line['color'], first)
    axes.set(xlabel=summary['unit'], ylabel=summary['metric']['name'])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set(
        xlim=(first, last),
        ylim=_late_limits(curves) if late else axes.get_ylim())
    _label_at_right(axes, ends)
    return make_svg(figure, 'late' if late else 'curves',
                    'Learning curves, ' + ('second half' if late else 'all'))


def _draw_panels(summary: dict, curves: dict) -> List[Tuple[str, str]]:
    """Each method beside the reference, all on one scale."""
    reference, look, panels = summary['reference'], _look(summary), []
    figure, axes = make_figure(1.6, left=0.42, right=0.12, width=2.5)
    for i, method in enumerate(summary['methods']):
        name = method['name']
        if name not in curves or name == reference:
            continue
        _empty(axes)
        for which in (reference, name):
            if which in curves:
                _line_with_band(axes, *curves[which], look[which])
        end = _end(curves)
        axes.set(xlim=(end / 2, end), ylim=_late_limits(curves))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        panels.append((method['label'],
                       make_svg(figure, f'panel{i}',
                                f'Learning curve of {method["label"]}')))
    return panels


def _draw_training(summary: dict) -> List[Tuple[str, List[Tuple[str, str]]]]:
    """What went on inside the methods that log more than the child."""
    drawn = []
    stages: Dict[float, tuple] = {}
    for i, method in enumerate(summary['methods']):
        groups: Dict[str, dict] = {}
        for name, curve in _training_curves(method).items():
            groups.setdefault(_group(name), {})[name] = curve
        if set(groups) <= {'accuracy'} and len(groups.get('accuracy', ())) < 2:
            continue
        drawn.append((method['label'], [(group,
                                         _draw_group(f'training-{group}{i}',
                                                     group, curves, stages))
                                        for group, curves in groups.items()]))
    return drawn


def _training_curves(method: dict) -> Dict[str, tuple]:
    """Name -> steps and values (seeds x steps), of the finished runs."""
    runs = [
        run['training'] for run in method['runs']
        if _finished(run) and run.get('training')
    ]
    curves = {
        name: _joined([run.get(name, ()) for run in runs])
        for name in (runs[0] if runs else ())
    }
    return {name: curve for name, curve in curves.items() if curve}


def _group(name: str) -> str:
    if name.endswith('.accuracy'):
        return 'accuracy'
    return name.split('.')[1] if '.' in name else name


def _draw_group(key: str, group: str, curves: Dict[str, tuple],
                stages: Dict[float, tuple]) -> str:
    height = max(1.8, len(curves) * LINE + 0.7)
    if height not in stages:
        stages[height] = make_figure(height, left=0.55, right=1.7)
    figure, axes = stages[height]
    _empty(axes)
    ends = []
    for i, (name, curve) in enumerate(curves.items()):
        look = dict(color=PALETTE[i % len(PALETTE)], linestyle='-')
        _line_with_band(axes, *curve, look)
        # 'native.accuracy' and 'hkt.gate.backbone.layer1'
        label = name.removesuffix('.accuracy') \
            if group == 'accuracy' else name.split('.', 2)[-1]
        ends += _end_of(*curve, label, look['color'])
    axes.set(xlabel='iteration', ylabel=group)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    _label_at_right(axes, ends)
    return make_svg(figure, key, f'{group} while training')


def _end(curves: dict) -> int:
    return max(steps[-1] for steps, _ in curves.values())


def _late_limits(curves: dict) -> Optional[Tuple[float, float]]:
    """The scores in the second half of training, where methods differ by
    less than one of them learns in the first."""
    half = _end(curves) / 2
    late = np.concatenate([
        values[:, steps >= half].ravel() for steps, values in curves.values()
    ])
    late = late[np.isfinite(late)]
    if not late.size:
        return None
    margin = 0.05 * (late.max() - late.min()) or 1
    return late.min() - margin, late.max() + margin


def _draw_differences(summary: dict) -> Optional[str]:
    """A forest plot: the best at the top."""
    higher = summary['metric']['higher_is_better']
    rows = sorted((method for method in summary['methods']
                   if method['difference'] and method['difference']['n']),
                  key=lambda method: method['difference']['mean'],
                  reverse=not higher)
    if not rows:
        return None
    figure, axes = make_figure(len(rows) * 0.25 + 0.75, left=1.6, right=0.2)
    # One interval of two seeds can be so wide that nothing else is seen.
    points = [0] + [v for row in rows for v in row['difference']['values']]
    margin = 0.7 * (max(points) - min(points)) or 1
    left, right = min(points) - margin, max(points) + margin
    edges = [
        row['difference'][side] for row in rows for side in ('low', 'high')
        if row['difference'][side] is not None
    ]
    slack = 0.05 * (right - left)
    left = max(left, min([*points, *edges]) - slack)
    right = min(right, max([*points, *edges]) + slack)
    axes.axvline(0, color=INK, linewidth=0.9)
    for y, row in enumerate(rows):
        difference = row['difference']
        color = dict(
            better=BETTER, worse=WORSE).get(difference['verdict'], MUTED)
        axes.plot(
            difference['values'], [y] * difference['n'],
            '|',
            color=color,
            alpha=0.6,
            markersize=6,
            markeredgewidth=0.9)
        axes.plot(difference['mean'], y, 'o', color=color, markersize=5)
        wider = difference['test_set']
        if wider:
            axes.plot([wider['low'], wider['high']], [y, y],
                      color=color,
                      linewidth=0.7)
        if difference['low'] is None:
            continue
        axes.plot([difference['low'], difference['high']], [y, y],
                  color=color,
                  linewidth=1.6)
        for edge, marker in ((left, '<'), (right, '>')):
            if difference['low'] < edge < difference['high']:
                axes.plot(
                    edge, y, marker, color=color, markersize=5, clip_on=False)
    axes.set(
        xlim=(left, right),
        ylim=(-0.6, len(rows) - 0.4),
        yticks=range(len(rows)),
        yticklabels=[_shorten(row['label']) for row in rows],
        xlabel='worse ← difference → better'
        if higher else 'better ← difference → worse')
    axes.tick_params(axis='y', labelcolor=INK, labelsize=9, pad=8)
    axes.grid(axis='y', visible=False)
    axes.spines['left'].set_visible(False)
    return make_svg(figure, 'differences', 'Paired differences with intervals')


def _draw_cost(summary: dict) -> Optional[str]:
    rows = [
        method for method in summary['methods']
        if method['cost']['relative_step'] and method['last']['n']
    ]
    if len(rows) < 2:
        return None
    height = max(3.4, len(rows) * LINE + 0.7)
    figure, axes = make_figure(height, left=0.55, right=1.7)
    look, ends = _look(summary), []
    for row in rows:
        x, y = row['cost']['relative_step'], row['last']['mean']
        color = look[row['name']]['color']
        axes.errorbar(
            x,
            y,
            row['last']['std'],
            fmt='o',
            color=color,
            markersize=5.5,
            elinewidth=0.9)
        ends.append((x, y, row['label'], color))
    axes.set(
        xlabel='seconds a step, relative', ylabel=summary['metric']['name'])
    axes.margins(x=0.08)
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    _label_at_right(axes, ends)
    return make_svg(figure, 'cost', 'Score against the time of a step')


def draw_ladder(ladder: dict) -> Optional[str]:
    """Scores against the length of training.

    Args:
        ladder (dict): See :func:`mmhkt.comparison.ladder_report.ladder_of`.

    Returns:
        str | None: An SVG element; None for fewer than two budgets.
    """
    lengths = [budget['length'] for budget in ladder['budgets']]
    if len(lengths) < 2:
        return None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure, axes = make_figure(
            max(3.4,
                len(ladder['rows']) * LINE + 0.7), left=0.55, right=1.7)
        look = _look(dict(ladder, methods=ladder['rows']))
        axes.set_xscale('log')
        ends = []
        for row in ladder['rows']:
            color = look[row['name']]['color']
            known = [(x, cell) for x, cell in zip(lengths, row['cells'])
                     if cell['mean'] is not None]
            if not known:
                continue
            x = [x for x, _ in known]
            y = [cell['mean'] for _, cell in known]
            axes.errorbar(
                x,
                y, [cell['std'] or 0 for _, cell in known],
                **look[row['name']],
                marker='o',
                markersize=4,
                elinewidth=0.9)
            for at in row['crossings']:
                axes.plot(
                    at,
                    np.interp(np.log(at), np.log(x), y),
                    'o',
                    color=color,
                    markersize=9,
                    fillstyle='none')
            ends.append((x[-1], y[-1], row['label'], color))
        axes.set(
            xlabel=f'{ladder["unit"]}s of training',
            ylabel=ladder['metric']['name'])
        axes.set_xticks(lengths, [f'{x:,}' for x in lengths])
        axes.minorticks_off()
        axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
        _label_at_right(axes, ends)
        return make_svg(figure, 'ladder',
                        'Score against the length of training')


def make_figure(height: float,
                left: float,
                right: float,
                width: float = WIDTH) -> tuple:
    """A figure with fixed margins, in inches."""
    figure = Figure(figsize=(width, height))
    bottom, top = (0.45, 0.1) if width == WIDTH else (0.25, 0.08)
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width,
         1 - (bottom + top) / height))
    return figure, axes


def _empty(axes) -> None:
    """Make room for the next figure of the same measures: to make ticks takes
    longer than all else."""
    for artist in [*axes.lines, *axes.collections, *axes.texts]:
        artist.remove()
    axes.relim()
    axes.autoscale()


def _line_with_band(axes, steps: np.ndarray, values: np.ndarray,
                    look: dict) -> None:
    axes.plot(steps, values.mean(0), **look)
    if len(values) > 1:
        axes.fill_between(
            steps,
            values.min(0),
            values.max(0),
            color=look['color'],
            alpha=0.13,
            linewidth=0)


def _end_of(steps: np.ndarray,
            values: np.ndarray,
            label: str,
            color: str,
            first: float = 0) -> List[tuple]:
    """What `_label_at_right` names a line by, if it has a point from
    ``first`` on; where a run diverged it ends before the others do."""
    mean = values.mean(0)
    there = np.isfinite(mean) & (steps >= first)
    if not there.any():
        return []
    return [(steps[there][-1], mean[there][-1], label, color)]


def _label_at_right(axes, ends: Sequence[tuple]) -> None:
    """Write names to the right of the axes, each joined to its point and as
    near to its height as the others let it.

    Args:
        ends (Sequence[tuple]): x, y, name, colour.
    """
    ends = sorted(ends, key=lambda end: end[1])
    if not ends:
        return
    low, high = axes.get_ylim()
    height = axes.get_position().height * axes.figure.get_figheight()
    gap = LINE / height * np.arange(len(ends))
    wanted = [(y - low) / (high - low) for _, y, _, _ in ends]
    places = isotonic_regression(wanted - gap).x.clip(0, 1 - gap[-1]) + gap
    for (x, y, name, color), place in zip(ends, places):
        axes.annotate(
            _shorten(name), (x, y), (1.12, place),
            textcoords='axes fraction',
            va='center',
            annotation_clip=False,
            arrowprops=dict(
                arrowstyle='-',
                color=color,
                linewidth=0.8,
                relpos=(0, 0.5),
                connectionstyle='arc,angleA=180,armA=7',
                shrinkA=2,
                shrinkB=0))


def _shorten(name: str, most: int = 17) -> str:
    name = ' '.join(name.split())
    return name if len(name) <= most else name[:most - 1] + '…'


def make_svg(figure: Figure, key: str, title: str) -> str:
    """A figure as an element of a page.

    Args:
        figure (Figure): As it is to be.
        key (str): Its class, followed by a number where there are several.
        title (str): What it shows, in words.
    """
    buffer = io.StringIO()
    # The key keeps the ids of several figures in one page apart.
    with matplotlib.rc_context({'svg.hashsalt': key}):
        figure.savefig(
            buffer,
            format='svg',
            transparent=True,
            metadata=dict(Date=None, Title=title))
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg'):]
    svg = re.sub(r'<metadata>.*?</metadata>\s*', '', svg, flags=re.DOTALL)
    # The ids of groups are no one's target, and the same in every figure.
    svg = re.sub(r'<g id="[^"]*"', '<g', svg)
    svg = re.sub(r'font-family: [^;"]*; ', '', svg)
    # The key may have come from anywhere.
    name = re.sub(r'\W+', '-', key.rstrip('0123456789'))
    svg = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>',
        rf'<svg role="img" class="{name}" \1>',
        svg,
        count=1)
    for color, variable in THEME.items():
        svg = svg.replace(color, f'var(--{variable})')
    return svg
