# Copyright (c) mmhkt authors. All rights reserved.
"""What was found, on the screen and as a page."""
from typing import List, Optional, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from mmhkt.comparison.plots import MUTED, PALETTE, STYLE, make_figure, make_svg
from mmhkt.comparison.report import environment_of_pages
from .given import ALONE, CHILD
from .representation import ENOUGH
from .summary import largest_changes

NOTHING = '–'
# Of 150 classes no one reads the bars; the table has them all.
MOST_PARTS = 20


def table_of(summary: dict) -> Table:
    """The figures that fit on a screen: a network a row."""
    networks = summary['networks']
    table = Table(
        title=shown_text(summary),
        caption=' '.join([
            'CKA with the stage of the parent; share of its variance '
            'explained.', *unknown_texts(summary)
        ]))
    table.add_column('network')
    if networks:
        table.add_column(summary['metric'])
    for child, parent in summary['stages']:
        table.add_column(
            child if child == parent else f'{child} → {parent}',
            overflow='fold')
    for name in networks or summary['cka']:
        cells = [name]
        if networks:
            cells.append(score_text(networks[name]['score'], summary))
        if name in summary['cka']:
            cells += [
                f'{_number(summary["cka"][name][i][i])}; '
                f'{_percent(summary["explained"][name][i])}'
                for i in range(len(summary['stages']))
            ]
        table.add_row(*cells)
    return table


def sentences(summary: dict) -> List[str]:
    """What changed, in words: of the best child, where there are several."""
    best = summary['best']
    if best not in summary['changes']:
        return []
    changes = summary['changes'][best]
    who = 'the child' if best == CHILD else best
    alone = summary['reference'] if summary['reference'] != ALONE else (
        'the child alone')
    parent = changes['parent_right']
    things, scored = summary['noun'], f'{summary["scored"]:,}'
    p = f'p {_p(changes["p"])}{adjusted_text(summary)}'
    if summary['classification']:
        lines = [
            f'Of {scored} images {who} wins {changes["won"]:,} '
            f'that {alone} gets wrong, and loses {changes["lost"]:,} that '
            f"it gets right (McNemar's exact test: {p})."
        ]
        right = 'right'
    else:
        lines = [
            f'Of {scored} {things} {who} has the better '
            f'{summary["metric"]} on {changes["won"]:,} and {alone} on '
            f'{changes["lost"]:,} (Wilcoxon\'s signed-rank test of the '
            f'differences {things[:-1]} by {things[:-1]}: {p}).'
        ]
        right = f'better than {alone}'
    if parent['all'] is not None:
        shares = [f'{_percent(parent["all"])} of all {things}'] + [
            f'{_percent(parent[part])} of the {part} ones'
            for part in ('won', 'lost') if parent[part] is not None
        ]
        *first, last = shares
        where = ' and on '.join(filter(None, [', on '.join(first), last]))
        lines.append(f'The parent is {right} on {where}.')
    gains = [pair for pair in largest_changes(summary, best) if pair[1] > 0]
    if gains:
        lines.append('Most is gained, by ' + summary['parts'] + ': ' +
                     ', '.join(f'{part} ({gain_text(gain, summary)})'
                               for part, gain in gains) + '.')
    return lines


def shown_text(summary: dict) -> str:
    """How much was shown."""
    if summary['noun'] == 'volumes':
        return (f'{summary["images"]:,} slices of {summary["scored"]:,} '
                'volumes')
    return f'{summary["images"]:,} {summary["noun"]}'


def adjusted_text(summary: dict) -> str:
    """For what p-values are adjusted."""
    count = len(summary['changes'])
    return f', adjusted for {count} children by Holm' if count > 1 else ''


def unknown_texts(summary: dict) -> List[str]:
    """Why there are figures that are not known."""

    def lacks(values) -> bool:
        return any(map(lacks, values)) if isinstance(values,
                                                     list) else values is None

    texts = []
    if lacks(list(summary['cka'].values())):
        texts.append('No CKA: of features that do not vary, or of fewer than '
                     '4 images.')
    if lacks(list(summary['explained'].values())):
        texts.append(
            f'No variance explained: fewer than {ENOUGH} rows (images times '
            'positions) a channel to fit on, nothing to judge on, or a '
            'feature that does not vary; show more images.')
    return texts


def score_text(value: Optional[float], summary: dict) -> str:
    """A score with its unit."""
    if value is None:
        return NOTHING
    digits = 3 if summary['unit'] == 'px' else 2
    return f'{value:.{digits}f} {summary["unit"]}'


def gain_text(value: float, summary: dict) -> str:
    """How much better, + or not, whichever way the score goes."""
    unit = 'px' if summary['unit'] == 'px' else 'points'
    return f'{value:+.2f} {unit}'


def render(summary: dict, shown: Sequence[dict] = ()) -> str:
    """One page that needs no other and no network.

    Args:
        summary (dict): See :func:`mmhkt.analysis.summary.summarise`.
        shown (Sequence[dict]): Where the networks look, see
            :func:`mmhkt.analysis.attribution.where_they_look`. Defaults to
            nothing.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        heat = [(name, _heat_map(f'cka{i}', summary, name))
                for i, name in enumerate(summary['cka'])]
        calibrated = {
            name: network
            for name, network in summary['networks'].items()
            if network['calibration']
        }
        return environment_of_pages('analysis').get_template(
            'inheritance.html').render(
                summary=summary,
                sentences=sentences(summary),
                heat=heat,
                explained=_bars(summary),
                reliability=_reliability(calibrated) if calibrated else None,
                by_part=_gains(summary),
                looks=[(_words(one, summary), _maps(f'look{i}', one, summary))
                       for i, one in enumerate(shown)],
                number=_number,
                percent=_percent,
                p_value=_p,
                score_text=score_text,
                shown=shown_text(summary),
                adjusted=adjusted_text(summary),
                unknown=unknown_texts(summary))


def _heat_map(key: str, summary: dict, name: str) -> str:
    values = np.array(summary['cka'][name], dtype=float)
    figure, axes = make_figure(2.6, left=1.3, right=0.2)
    axes.imshow(values, vmin=0, vmax=1, cmap='Blues', aspect='auto')
    for (i, j), value in np.ndenumerate(values):
        axes.text(
            j,
            i,
            _two(value),
            ha='center',
            va='center',
            color='#ffffff' if value > .6 else '#000000')
    children, parents = (_short(names) for names in zip(*summary['stages']))
    axes.set_yticks(range(len(values)), children)
    axes.set_xticks(range(len(values)), parents)
    axes.set(xlabel='stage of the parent')
    axes.grid(False)
    return make_svg(
        figure, key,
        f'CKA of the stages of {name} with those of the parent: ' +
        '; '.join(', '.join(map(_two, row)) for row in values))


def _short(names: Sequence[str]) -> List[str]:
    """Module paths without what they begin with in common: four whole ones
    would overlap below a figure."""
    paths = [name.split('.') for name in names]
    same = 0
    while all(len(p) > same + 1
              for p in paths) and len({p[same]
                                       for p in paths}) == 1:
        same += 1
    return ['.'.join(p[same:]) for p in paths]


def _bars(summary: dict) -> str:
    figure, axes = make_figure(2.6, left=0.55, right=0.2)
    names = list(summary['explained'])
    width = 0.8 / len(names)
    texts = []
    for i, name in enumerate(names):
        values = np.array(summary['explained'][name], dtype=float)
        axes.bar(
            np.arange(len(values)) + (i - (len(names) - 1) / 2) * width,
            100 * values,
            width * .9,
            color=PALETTE[i % len(PALETTE)],
            label=name)
        texts.append(f'{name} ' + ', '.join(
            NOTHING if np.isnan(v) else f'{100 * v:.0f} %' for v in values))
    parents = _short([p for _, p in summary['stages']])
    axes.set_xticks(range(len(parents)), parents)
    axes.set(ylabel='% of variance explained', xlabel='stage of the parent')
    axes.set(ylim=(axes.get_ylim()[0], 1.35 * axes.get_ylim()[1]))
    axes.legend(frameon=False)
    return make_svg(figure, 'explained',
                    'Variance of the parent explained: ' + '; '.join(texts))


def _gains(summary: dict) -> Optional[str]:
    """What each child has more than the child alone, class by class or speed
    by speed."""
    gains = {
        name: dict(largest_changes(summary, name, len(network['by_part'])))
        for name, network in summary['networks'].items()
        if name in summary['changes']
    }
    names = [name for name in gains if gains[name]]
    if not names:
        return None
    parts = [
        part for part in summary['networks'][names[0]]['by_part']
        if part in gains[names[0]]
    ][:MOST_PARTS]
    height = max(2.2, .17 * len(parts) * max(1, len(names) * .6) + .7)
    figure, axes = make_figure(height, left=1.1, right=0.2)
    width = .8 / len(names)
    for i, name in enumerate(names):
        axes.barh(
            np.arange(len(parts)) + (i - (len(names) - 1) / 2) * width,
            [gains[name].get(part, np.nan) for part in parts],
            width * .9,
            color=PALETTE[i % len(PALETTE)],
            label=name)
    axes.axvline(0, color=MUTED, linewidth=.8)
    axes.set_yticks(range(len(parts)), parts)
    axes.invert_yaxis()
    unit = 'px less' if not summary['higher'] else 'points more'
    axes.set(xlabel=f'{unit} than {summary["reference"]}')
    if len(names) > 1:
        axes.legend(frameon=False)
    return make_svg(
        figure, 'gains', f'{summary["metric"]} against '
        f'{summary["reference"]}; ' +
        '; '.join(f'{name}: ' +
                  ', '.join(f'{part} {gain_text(gains[name][part], summary)}'
                            for part in parts if part in gains[name])
                  for name in names))


def _reliability(networks: dict) -> str:
    figure, axes = make_figure(3.2, left=0.55, right=0.2)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=.8)
    for i, (name, network) in enumerate(networks.items()):
        found = network['calibration']
        x, y = (
            np.array(found[key], dtype=float)
            for key in ('confidence', 'accuracy'))
        there = np.isfinite(x)
        axes.plot(
            x[there],
            y[there],
            marker='o',
            markersize=3,
            color=PALETTE[i % len(PALETTE)],
            label=f'{name}, ECE {100 * found["ece"]:.1f} %')
    axes.set(xlabel='confidence', ylabel='accuracy')
    axes.legend(frameon=False)
    return make_svg(
        figure, 'reliability', 'Accuracy against confidence; ' +
        '; '.join(f'{name}: expected calibration error '
                  f'{100 * network["calibration"]["ece"]:.1f} %'
                  for name, network in networks.items()))


def _words(one: dict, summary: dict) -> str:
    changes = summary['changes'][summary['best']]
    won = one['sample'] in changes['won_samples']
    return (f'{"Won" if won else "Lost"}: '
            f'{summary["classes"][one["label"]]}, image {one["sample"]:,}')


def _maps(key: str, one: dict, summary: dict) -> str:
    """An image and, of each network, what speaks for the true class (red)
    and against it (blue)."""
    figure = Figure(figsize=(5.0, 5.0 / (1 + len(one['maps'])) + .35))
    figure.subplots_adjust(0.01, 0.01, .99, .8, wspace=.06)
    pictures = {'image': one['image'], **one['maps']}
    for i, (name, picture) in enumerate(pictures.items()):
        axes = figure.add_subplot(1, len(pictures), i + 1)
        axes.axis('off')
        title = name
        if name == 'image':
            axes.imshow(picture)
        else:
            most = np.percentile(np.abs(picture), 99) or 1
            axes.imshow(picture, cmap='RdBu_r', vmin=-most, vmax=most)
            title += f':\n{summary["classes"][one["predicted"][name]]}'
        axes.set_title(title, fontsize=8)
    return make_svg(
        figure, key,
        _words(one, summary) + '; predicted: ' +
        ', '.join(f'{name} {summary["classes"][c]}'
                  for name, c in one['predicted'].items()))


def _two(value: float) -> str:
    return NOTHING if np.isnan(value) else f'{value:.2f}'


def _number(value: Optional[float]) -> str:
    return NOTHING if value is None else f'{value:.3f}'


def _percent(value: Optional[float]) -> str:
    return NOTHING if value is None else f'{100 * value:.1f} %'


def _p(value: float) -> str:
    return f'{value:.3f}' if value >= .001 else '< 0.001'
