# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt inspect`` does: load, look, write down."""
import json
import time
from argparse import Namespace
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import (Callable, Iterable, Iterator, List, NamedTuple, Optional,
                    Sequence)

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import (BarColumn, MofNCompleteColumn, Progress, TextColumn,
                           TimeElapsedColumn, TimeRemainingColumn)
from torch import nn
from torch.utils.data import DataLoader

from mmhkt.inheritance import Classes, Dissection, Trunk, pair_stages
from mmhkt.models import ImageFormat, Parent, build_network, task_of
from mmhkt.models.tasks import Classification
from mmhkt.utils import few
from mmhkt.utils.checkpoint import load_strictly, read_checkpoint, weights_of
from mmhkt.utils.config import ConfigError, set_dataloader_defaults
from mmhkt.utils.files import write_text
from .attribution import where_they_look
from .given import Given, given_comparison, given_runs
from .observe import Observation, observe
from .order import cut_volumes, shuffled
from .report import render, table_of
from .summary import noun_of, summarise


def run(args: Namespace) -> None:
    """Do what the command line says."""
    given = _given(args)
    seen = look(given, args.images)
    summary = summarise(seen.found, seen.classes, given)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / 'inheritance.json',
               json.dumps(summary, indent=1) + '\n')
    write_text(folder / 'inheritance.html',
               render(summary, pictures(summary, seen, args.samples)))
    console = Console()
    console.print(table_of(summary))
    console.print(f'written: {folder / "inheritance.html"}', soft_wrap=True)


def _given(args: Namespace) -> Given:
    if Path(args.config).is_dir():
        if args.checkpoint or args.alone:
            raise ConfigError(
                f'{args.config} is a folder, whose children are found; give '
                'a config where a checkpoint is given')
        return given_comparison(args.config, args.seed, args.cfg_options)
    if args.checkpoint is None:
        raise ConfigError('a config needs a checkpoint beside it; only the '
                          'folder of a comparison does not')
    return given_runs(args.config, args.checkpoint, args.alone,
                      args.cfg_options)


class Seen(NamedTuple):
    """What was found, and what it was found with."""
    found: Observation
    classes: List[str]
    children: dict
    parent: Optional[Parent]  # where its classes are theirs
    dataset: object


def look(given: Given, images: Optional[int] = None) -> Seen:
    """Show the validation images to children and their parent.

    Args:
        given (Given): The children.
        images (int, optional): How many, see :func:`shuffled`. Defaults to
            None, all.
    """
    cfg = given.cfg
    set_dataloader_defaults(cfg, ('val_dataloader', ))
    children = {}
    for name, path in given.checkpoints.items():
        children[name] = build_network(cfg).to(get_device()).eval()
        load_strictly(children[name], weights_of(read_checkpoint(path)), path)
    # Data sets and evaluators name transforms and metrics of their own
    # package, as a runner would find them.
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        loader = Runner.build_dataloader(cfg.val_dataloader, seed=0)
    meta = getattr(loader.dataset, 'metainfo', None) or {}

    def judge() -> Evaluator:
        return _evaluator(cfg, meta)

    if noun_of(cfg) == 'volumes':
        _check_whole(loader)
    loader, order = shuffled(loader, images)
    child = next(iter(children.values()))
    image = child.data_preprocessor(next(iter(loader)), False)['inputs'][:1]
    parent = Parent.from_cfg(cfg.parent)
    parent.connect(child, ImageFormat.of(child, cfg))
    parent.to(get_device())
    trunks = _trunks(child, parent, image)
    classes = list(meta.get('classes') or ())
    why = _other_classes(map(_class_count, trunks), classes, parent.classes)
    if why:
        Console().print(f'The parent is not scored: {why}', soft_wrap=True)
    with progress(len(order.positions)) as tell:
        found = observe(
            children,
            parent,
            loader,
            pair_stages(*trunks),
            tell,
            judge,
            order,
            score_parent=not why)
    return Seen(found, classes, children, None if why else parent,
                loader.dataset)


def _check_whole(loader: DataLoader) -> None:
    cut = cut_volumes(loader)
    if cut:
        raise ConfigError(
            f'The validation set has some slices only of {len(cut)} volumes '
            f'({few(cut, 3)}), but VolumeDice scores whole ones '
            '(empty_every=1, indices=None); --images takes whole volumes.')


def _other_classes(counts: Iterable[Optional[int]], classes: Sequence[str],
                   parents: Optional[Sequence[str]]) -> str:
    """Why the parent's predictions are not of the classes that the images
    have; nothing where they are.

    Args:
        counts (Iterable[int | None]): How many classes child and parent tell
            apart, as far as that is known.
        classes (Sequence[str]): Names of those of the data set.
        parents (Sequence[str], optional): Names of the parent's.
    """
    if len(set(counts) - {None}) > 1:
        return 'it has another number of classes than the child'
    names = [tuple(own) if own else None for own in (classes, parents)]
    try:
        order = Classes(names[0]).order_in(Classes(names[1]))
    except ValueError as error:
        return str(error)
    return '' if order is None else 'its classes are in another order'


def _class_count(trunk: Trunk) -> Optional[int]:
    """As the head says, else as many as there are logits."""
    task = task_of(trunk.dissection.network)
    if task.num_classes is not None:
        return task.num_classes
    if not isinstance(task, Classification):
        return None
    site = task.logits_site(trunk.dissection)
    return None if site is None else trunk.dissection.shape(site)[1]


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """How many images are done and how long the others will take: a bar, or,
    where that would be written to a file, a line every tenth.

    Args:
        total (int): Number of images.

    Yields:
        callable: To be told how many are done.
    """
    console = Console()
    bar = Progress(
        TextColumn('images'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn('left'),
        TimeRemainingColumn(),
        console=console)
    task = bar.add_task('', total=total)
    begin, told = time.monotonic(), 0

    def tell(done: int) -> None:
        nonlocal told
        done = min(done, total)
        bar.update(task, completed=done)
        if not console.is_terminal and 10 * done // total > told:
            told = 10 * done // total
            left = (time.monotonic() - begin) * (total - done) / done
            console.print(f'{done:,} of {total:,} images, {left:.0f} s left')

    with bar if console.is_terminal else nullcontext():
        yield tell


def pictures(summary: dict, seen: Seen, samples: int) -> List[dict]:
    """Where parent, the best child and the child alone look, in the first
    images that it won and lost; nothing but of classification."""
    best = summary['best']
    if not (samples and best in summary['changes'] and seen.found.scores):
        return []
    changes = summary['changes'][best]
    chosen = [
        *changes['won_samples'][:samples], *changes['lost_samples'][:samples]
    ]
    children = {
        name: seen.children[name]
        for name in (best, summary['reference'])
    }
    return where_they_look(children, seen.parent, seen.dataset, chosen)


def _evaluator(cfg: Config, meta: dict) -> Evaluator:
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        evaluator = Evaluator(cfg.get('val_evaluator') or [])
    evaluator.dataset_meta = meta
    return evaluator


def _trunks(child: nn.Module, parent: Parent,
            image: torch.Tensor) -> List[Trunk]:
    return [
        Trunk(Dissection(network, shown, role,
                         task_of(network).backbone))
        for network, shown, role in ((child, image, 'child'),
                                     (parent.network, parent.images(image),
                                      'parent'))
    ]
