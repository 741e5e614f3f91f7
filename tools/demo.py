# Copyright (c) mmhkt authors. All rights reserved.
"""A parent, a child alone and a child that inherits, on handwritten digits.

Trains all of them (a few minutes on two CPU cores, no download), prints what
they reach and writes it, with the curves, to the work directory. Every run is
one of ``tools/train.py``. What is finished is not run again.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

# First: it checks what is installed and makes `mmhkt::` configs known.
import mmhkt  # noqa: F401  isort: skip
import matplotlib
import torch
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import (BarColumn, MofNCompleteColumn, Progress, TextColumn,
                           TimeRemainingColumn)

from mmhkt.utils import read_checkpoint

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

TOOLS = Path(__file__).resolve().parent
PARENT = 'mmhkt::alone/resnet20_digits.py'
CHILDREN = {
    'child alone': 'mmhkt::alone/resnet8-narrow_digits.py',
    'child with HKT': 'mmhkt::hkt/hkt_resnet20_resnet8-narrow_digits.py',
}
METRIC = 'accuracy/top1'


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', default='work_dirs/demo', type=Path)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--epochs', type=int, default=20)
    return parser.parse_args()


def train(progress: Progress, what: str, config: str, folder: Path,
          epochs: int, *options: str) -> None:
    """Run ``tools/train.py``, with its log in a file and its progress on the
    screen; goes on where an earlier run was cut off."""
    task = progress.add_task(what, total=epochs)
    if not (folder / 'child.pth').exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, TOOLS / 'train.py', config, '--work-dir', folder,
            '--resume', '--cfg-options', f'train_cfg.max_epochs={epochs}',
            *options
        ]
        log = folder / 'log.txt'
        with open(log, 'w') as file:
            process = subprocess.Popen(
                list(map(str, command)), stdout=file, stderr=subprocess.STDOUT)
            while process.poll() is None:
                progress.update(task, completed=len(curve(folder)))
                try:
                    process.wait(0.5)
                except subprocess.TimeoutExpired:
                    pass
        if process.returncode:
            raise SystemExit(f'mmhkt: {what} failed; the end of {log}:\n' +
                             ''.join(log.read_text()[-3000:]))
    progress.update(task, completed=epochs)


def curve(folder: Path) -> list:
    """The validation scores of a run, one an epoch."""
    scores = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            entry = json.loads(line) if line.endswith('}') else {}
            if METRIC in entry:
                scores[entry['step']] = entry[METRIC]
    return [scores[step] for step in sorted(scores)]


def parameters(folder: Path) -> int:
    """What a run deploys: the parameters in its exported child."""
    weights = read_checkpoint(folder / 'child.pth')['state_dict']
    return sum(value.numel() for key, value in weights.items()
               if not key.endswith(('running_mean', 'running_var',
                                    'num_batches_tracked')))


def summary(values: list) -> str:
    mean = statistics.mean(values)
    if len(values) == 1:
        return f'{mean:.2f}'
    return f'{mean:.2f} ± {statistics.stdev(values):.2f}'


def report(folder: Path, parent: Path, children: dict, costs: dict) -> str:
    medians = list(costs['medians'].values())
    steps = dict(zip(CHILDREN, (medians[0], medians[2])))
    seeds = len(next(iter(children.values())))
    rows = [('parent', [parent], None)]
    rows += [(name, runs, steps[name]) for name, runs in children.items()]
    lines = [
        f'Top-1 accuracy in % on 599 held-out digits, {seeds} seed(s), '
        'mean ± standard deviation; same initial weights and batches for '
        'both children of a seed.', '',
        '| | last epoch | best epoch | ms a step | parameters deployed |',
        '|---|---|---|---|---|'
    ]
    for name, runs, seconds in rows:
        curves = [curve(run) for run in runs]
        lines.append('| ' + ' | '.join([
            name,
            summary([c[-1] for c in curves]),
            summary([max(c) for c in curves]), '–' if seconds is
            None else f'{1000 * seconds:.1f}', f'{parameters(runs[0]):,}'
        ]) + ' |')
    alone, hkt = ([curve(run)[-1] for run in runs]
                  for runs in children.values())
    differences = [b - a for a, b in zip(alone, hkt)]
    lines += [
        '', 'HKT minus alone, last epoch, seed by seed: ' +
        ', '.join(f'{d:+.2f}' for d in differences) + ' points.', '',
        'Steps were timed alternating in one run, medians of '
        f'{costs["iters"]} rounds; step with HKT / (step alone + forward of '
        f'the parent) = {costs["relative_to_child_plus_parent"]:.2f}.'
    ]
    text = '\n'.join(lines) + '\n'
    write(folder / 'comparison.md', text)
    write(
        folder / 'comparison.json',
        json.dumps(
            dict(
                parent=curve(parent),
                children={
                    name: [curve(run) for run in runs]
                    for name, runs in children.items()
                },
                costs=costs),
            indent=2))
    return text


def write(path: Path, text: str) -> None:
    partial = path.with_suffix('.partial')
    partial.write_text(text)
    os.replace(partial, path)


def plot(path: Path, parent: Path, children: dict) -> None:
    figure, axes = plt.subplots(figsize=(6, 4), layout='constrained')
    for name, runs in children.items():
        curves = torch.tensor([curve(run) for run in runs])
        epochs = range(1, curves.shape[1] + 1)
        line, = axes.plot(epochs, curves.mean(0), label=name)
        axes.fill_between(
            epochs,
            curves.min(0).values,
            curves.max(0).values,
            color=line.get_color(),
            alpha=0.2)
    axes.axhline(
        curve(parent)[-1], color='grey', linestyle=':', label='parent')
    axes.set(xlabel='epoch', ylabel='top-1 accuracy, %')
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main():
    args = parse_args()
    folder: Path = args.work_dir
    parent = folder / 'parent'
    children = {
        name: [folder / f'{name.replace(" ", "_")}_{s}' for s in args.seeds]
        for name in CHILDREN
    }
    from_parent = (f'parent.checkpoint={parent / "child.pth"}', )
    with Progress(
            TextColumn('{task.description}'),
            BarColumn(), MofNCompleteColumn(), TextColumn('epochs'),
            TimeRemainingColumn()) as progress:
        train(progress, 'parent', PARENT, parent, args.epochs)
        for i, seed in enumerate(args.seeds):
            for name, config in CHILDREN.items():
                options = [f'randomness.seed={seed}']
                if name != 'child alone':
                    options += from_parent
                train(progress, f'{name}, seed {seed}', config,
                      children[name][i], args.epochs, *options)

    costs = folder / 'costs.json'
    subprocess.run(
        list(
            map(str, [
                sys.executable, TOOLS / 'benchmark.py',
                CHILDREN['child with HKT'], '--json', costs, '--cfg-options',
                *from_parent
            ])),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True)
    text = report(folder, parent, children, json.loads(costs.read_text()))
    plot(folder / 'curves.png', parent, children)
    Console().print(Markdown(text))
    print(f'Written to {folder}: comparison.md, comparison.json, curves.png')


if __name__ == '__main__':
    main()
