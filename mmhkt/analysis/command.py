# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt inspect`` does: load, look, write down."""
import json
import math
from argparse import Namespace
from pathlib import Path
from typing import Dict, List

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import (BarColumn, MofNCompleteColumn, Progress, TextColumn,
                           TimeElapsedColumn, TimeRemainingColumn)
from torch import nn

from mmhkt.inheritance import Dissection, Trunk, pair_stages
from mmhkt.models import ImageFormat, Parent, build_network, task_of
from mmhkt.utils.checkpoint import load_strictly, read_checkpoint, weights_of
from mmhkt.utils.config import (ConfigError, load_config, require,
                                set_dataloader_defaults)
from mmhkt.utils.files import write_text
from .attribution import where_they_look
from .changes import accuracy_by_class, calibration, won_and_lost
from .observe import PARENT, Observation, observe
from .report import render, table_of


def run(args: Namespace) -> None:
    """Do what the command line says."""
    cfg = load_config(args.config, args.cfg_options)
    require(cfg, ('model', 'parent', 'val_dataloader'))
    given = {'child': args.checkpoint}
    if args.alone:
        given['child alone'] = args.alone
    found, classes, (children, parent, dataset) = look(cfg, given, args.images)
    summary = summarise(found, classes, given)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / 'inheritance.json',
               json.dumps(summary, indent=1) + '\n')
    shown = []
    if summary['changes'] and args.samples:
        won, lost = (
            summary['changes'][key][:args.samples]
            for key in ('won_samples', 'lost_samples'))
        shown = where_they_look(children, parent, dataset, [*won, *lost])
    write_text(folder / 'inheritance.html', render(summary, shown))
    console = Console()
    console.print(table_of(summary))
    console.print(f'written: {folder / "inheritance.html"}', soft_wrap=True)


def look(cfg: Config, checkpoints: Dict[str, str], images=None) -> tuple:
    """Show the validation images to children and their parent.

    Args:
        cfg (Config): Of a run that has a parent.
        checkpoints (dict[str, str]): Name -> weights of such a child.
        images (int, optional): How many. Defaults to None, all.

    Returns:
        tuple: :class:`Observation`, the names of the classes, and children,
        parent and data set.
    """
    set_dataloader_defaults(cfg, ('val_dataloader', ))
    children = {}
    for name, path in checkpoints.items():
        if not Path(path).is_file():
            raise ConfigError(f'there is no checkpoint {path}')
        children[name] = build_network(cfg).eval()
        load_strictly(children[name], weights_of(read_checkpoint(path)), path)
    loader = Runner.build_dataloader(cfg.val_dataloader, seed=0)
    child = next(iter(children.values()))
    image = child.data_preprocessor(next(iter(loader)), False)['inputs'][:1]
    parent = Parent.from_cfg(cfg.parent)
    parent.connect(child, ImageFormat.of(child, cfg))
    stages = _stages(child, parent, image)
    total = len(loader.dataset) if images is None else min(
        images, len(loader.dataset))
    with Progress(
            TextColumn('images'), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn('left'),
            TimeRemainingColumn()) as progress:
        bar = progress.add_task('', total=total)
        found = observe(
            children, parent, loader, stages, images,
            lambda done: progress.update(bar, completed=min(done, total)))
    meta = getattr(loader.dataset, 'metainfo', None) or {}
    return (found, list(meta.get('classes')
                        or ()), (children, parent, loader.dataset))


def summarise(found: Observation, classes: List[str],
              checkpoints: Dict[str, str]) -> dict:
    """All that was found, as plain data."""
    summary = dict(
        images=found.images,
        checkpoints={
            k: str(v)
            for k, v in checkpoints.items()
        },
        stages=[list(pair) for pair in found.stages],
        cka={
            name: _plain(value)
            for name, value in found.cka.items()
        },
        explained={
            name: _plain(value)
            for name, value in found.explained.items()
        },
        networks={},
        changes=None)
    if not found.scores:
        return summary
    count = next(iter(found.scores.values())).shape[1]
    right = {}
    for name, scores in found.scores.items():
        predicted = scores.argmax(1)
        right[name] = predicted == found.labels
        summary['networks'][name] = dict(
            accuracy=100 * float(right[name].mean()),
            by_class=_plain(100 *
                            accuracy_by_class(predicted, found.labels, count)),
            calibration={
                key: _plain(value)
                for key, value in calibration(scores, found.labels).items()
            })
    summary['classes'] = classes if len(classes) == count else [
        str(i) for i in range(count)
    ]
    if 'child alone' in right:
        changes = won_and_lost(right['child'], right['child alone'],
                               right.get(PARENT))
        summary['changes'] = dict(
            changes,
            won=len(changes['won']),
            lost=len(changes['lost']),
            won_samples=changes['won'].tolist(),
            lost_samples=changes['lost'].tolist())
    return summary


def _stages(child: nn.Module, parent: Parent, image: torch.Tensor) -> list:
    networks = []
    for network, shown, role in ((child, image,
                                  'child'), (parent.network,
                                             parent.images(image), 'parent')):
        task = task_of(network)
        networks.append(Trunk(Dissection(network, shown, role, task.backbone)))
    return pair_stages(*networks)


def _plain(value):
    if isinstance(value, np.ndarray):
        return [_plain(x) for x in value.tolist()]
    if isinstance(value, list):
        return [_plain(x) for x in value]
    return None if isinstance(value, float) and math.isnan(value) else value
