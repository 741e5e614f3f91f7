# Copyright (c) mmhkt authors. All rights reserved.
"""What was found, on the screen and as a page."""
from typing import List, Optional, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from mmhkt.comparison.plots import MUTED, PALETTE, STYLE, make_figure, make_svg
from mmhkt.comparison.report import environment_of_pages

NOTHING = '–'


def table_of(summary: dict) -> Table:
    """The figures that fit on a screen."""
    table = Table(title=f'{summary["images"]:,} images')
    names = list(summary['cka'])
    table.add_column('stage of the child → of the parent')
    for name in names:
        table.add_column(f'{name}: CKA')
        table.add_column(f'{name}: variance explained')
    for i, (child, parent) in enumerate(summary['stages']):
        cells = []
        for name in names:
            cells += [
                _number(summary['cka'][name][i][i]),
                _percent(summary['explained'][name][i])
            ]
        table.add_row(f'{child} → {parent}', *cells)
    if summary['networks']:
        table.caption = '; '.join(
            f'{name} {network["accuracy"]:.2f} %, ECE '
            f'{100 * network["calibration"]["ece"]:.1f} %'
            for name, network in summary['networks'].items())
    return table


def sentences(summary: dict) -> List[str]:
    """What changed, in words."""
    changes = summary['changes']
    if not changes:
        return []
    parent = changes['parent_right']
    lines = [
        f'Of {summary["images"]:,} images the child wins {changes["won"]:,} '
        f'that the child alone gets wrong, and loses {changes["lost"]:,} that '
        f'it gets right (McNemar\'s exact test: p {_p(changes["p"])}).'
    ]
    if parent['all'] is not None:
        lines.append(
            f'The parent is right on {_percent(parent["all"])} of all images, '
            f'on {_percent(parent["won"])} of the won and on '
            f'{_percent(parent["lost"])} of the lost ones.')
    return lines


def render(summary: dict, shown: Sequence[dict] = ()) -> str:
    """One page that needs no other and no network.

    Args:
        summary (dict): See :func:`mmhkt.analysis.command.summarise`.
        shown (Sequence[dict]): Where the networks look, see
            :func:`mmhkt.analysis.attribution.where_they_look`. Defaults to
            nothing.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        heat = [(name, _heat_map(f'cka{i}', summary, name))
                for i, name in enumerate(summary['cka'])]
        networks = summary['networks']
        return environment_of_pages('analysis').get_template(
            'inheritance.html').render(
                summary=summary,
                sentences=sentences(summary),
                heat=heat,
                explained=_bars(summary),
                reliability=_reliability(networks) if networks else None,
                looks=[(_words(one, summary), _maps(f'look{i}', one, summary))
                       for i, one in enumerate(shown)],
                number=_number,
                percent=_percent)


def _heat_map(key: str, summary: dict, name: str) -> str:
    values = np.array(summary['cka'][name], dtype=float)
    figure, axes = make_figure(2.6, left=1.3, right=0.2)
    axes.imshow(values, vmin=0, vmax=1, cmap='Blues', aspect='auto')
    for (i, j), value in np.ndenumerate(values):
        axes.text(
            j,
            i,
            f'{value:.2f}',
            ha='center',
            va='center',
            color='#ffffff' if value > .6 else '#000000')
    axes.set_yticks(range(len(values)), [c for c, _ in summary['stages']])
    axes.set_xticks(range(len(values)), [p for _, p in summary['stages']])
    axes.set(xlabel='stage of the parent')
    axes.grid(False)
    return make_svg(
        figure, key,
        f'CKA of the stages of {name} with those of the parent: ' +
        '; '.join(', '.join(f'{v:.2f}' for v in row) for row in values))


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
            color=PALETTE[i],
            label=name)
        texts.append(f'{name} ' + ', '.join(f'{100 * v:.0f} %'
                                            for v in values))
    axes.set_xticks(
        range(len(summary['stages'])), [p for _, p in summary['stages']])
    axes.set(ylabel='% of variance explained', xlabel='stage of the parent')
    axes.set(ylim=(axes.get_ylim()[0], 1.35 * axes.get_ylim()[1]))
    axes.legend(frameon=False)
    return make_svg(figure, 'explained',
                    'Variance of the parent explained: ' + '; '.join(texts))


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
            color=PALETTE[i],
            label=f'{name}, ECE {100 * found["ece"]:.1f} %')
    axes.set(xlabel='confidence', ylabel='accuracy')
    axes.legend(frameon=False)
    return make_svg(
        figure, 'reliability', 'Accuracy against confidence; ' +
        '; '.join(f'{name}: expected calibration error '
                  f'{100 * network["calibration"]["ece"]:.1f} %'
                  for name, network in networks.items()))


def _words(one: dict, summary: dict) -> str:
    won = one['sample'] in summary['changes']['won_samples']
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


def _number(value: Optional[float]) -> str:
    return NOTHING if value is None else f'{value:.3f}'


def _percent(value: Optional[float]) -> str:
    return NOTHING if value is None else f'{100 * value:.1f} %'


def _p(value: float) -> str:
    return f'{value:.3f}' if value >= .001 else '< 0.001'
