# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt benchmark`` does: time the steps of methods."""
import copy
import json
import statistics
import tempfile
import uuid
from argparse import Namespace
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.device import get_device
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmhkt.comparison.budgets import length_of
from mmhkt.comparison.plan import Plan, make_plan
from mmhkt.hooks.record_hook import peak_memory
from mmhkt.hooks.setup import device_name
from mmhkt.methods import Alone
from mmhkt.models import Inheritance, Parent
from mmhkt.registry import RUNNERS
from mmhkt.utils.config import (ConfigError, load_config, set_amp,
                                set_dataloader_defaults)
from mmhkt.utils.files import write_text
from mmhkt.utils.timing import in_turn, middle_half
from .inheritance_runner import check_ours
from .phases import Phases
from .published_step import PublishedStep

# Of each name, what is done in a round, given the round's number.
Steps = Dict[str, Callable[[int], Any]]

DATA, ALONE, PARENT = 'data, a batch', 'child alone, step', 'parent, forward'
PLAIN = 'parent as it is, forward'
KEPT = ', features kept'
PUBLISHED = 'as published, step'
# Settings of a parent that make it cheaper.
CHEAP = ('dtype', 'memory_format', 'fold_norms', 'compile')
PHASE = ', phase '
# So many batches are gone through again and again.
BATCHES = 8
# How many steps a trace shows.
TRACED = 3


def run(args: Namespace) -> None:
    """Do what the command line says."""
    cfg, plan = _config(args.config, args)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        runner, cached = _runner(cfg, Path(folder, 'one'))
        extra: Dict[str, int] = {}
        if plan is None:
            main = _name(runner.inheritance)
            steps = of_one(runner, stack,
                           Path(folder, 'features') if cached else None,
                           args.published)
        else:
            main = plan.reference
            steps, extra, phases = of_methods(runner, stack, plan)
        against = None
        if args.against:
            other, _ = _runner(
                _config(args.against, args)[0], Path(folder, 'two'))
            against = f'{_name(other.inheritance)} ({args.against})'
            stack.enter_context(other.inheritance.tapped())
            steps[against] = _on(
                _some(_endless(other)), _step_of(other, other.inheritance))
        figures = measure(steps, args.iters, args.warmup)
        if plan is not None:
            over_phases(figures, phases)
        figures.update(_conditions(runner, args.iters, figures['medians']))
        if plan is None:
            figures.update(_ratios(figures['medians'], main, against))
        else:
            figures.update(_deployed(runner, plan, figures['medians'], extra))
        if args.profile:
            _trace(steps[main], args.profile)
    report(figures)
    if args.json:
        write_text(args.json, json.dumps(figures, indent=2))


def _config(path: str, args: Namespace) -> Tuple[Config, Optional[Plan]]:
    """A config, and its plan if it has a comparison."""
    cfg, plan = load_config(path, args.cfg_options), None
    if 'comparison' in cfg:
        plan = make_plan([path], options=args.cfg_options)
        cfg = plan.entries[0].cfg
    set_amp(cfg, args.amp)
    set_dataloader_defaults(cfg, ('train_dataloader', ))
    cfg.log_level = 'ERROR'
    return cfg, plan


def _runner(cfg: Config, folder: Path) -> tuple:
    """A runner, connected, and whether its config has a cache of features;
    what is timed is to be computed."""
    cfg.work_dir = str(folder)
    # mmengine keeps one state a name.
    cfg.experiment_name = uuid.uuid4().hex
    cached = cfg.parent.pop('cache', None) if cfg.get('parent') else None
    runner = RUNNERS.build(cfg)
    check_ours(runner)
    runner.connect()
    return runner, cached is not None


def _name(inheritance: Inheritance) -> str:
    return f'{inheritance.methods[0].name}, step'


def of_one(runner, stack: ExitStack, features: Optional[Path],
           published: bool) -> Steps:
    """What is timed of a config with a method.

    Args:
        runner (InheritanceRunner): Connected.
        stack (ExitStack): Takes off the taps at the end.
        features (Path, optional): A folder in which features can be kept, if
            a step with those is timed too.
        published (bool): Whether the paper's step is timed too.
    """
    inheritance, child = runner.inheritance, runner.model
    if inheritance.parent is None:
        raise ConfigError('the method of this config has no parent, so that '
                          'there is nothing to compare')
    # Its own weights: a child that both train would be the parent's too.
    other = copy.deepcopy(child)
    alone = Inheritance(other, None, [Alone()], runner.example(other))
    step = _step_of(runner, inheritance)
    endless = _endless(runner)
    batches = _some(endless)
    context = runner.build_optim_wrapper(runner.optim_wrapper).optim_context

    def forward(parent: Parent) -> Callable[[dict], None]:

        @torch.no_grad()
        def run(batch: dict) -> None:
            with context(child):
                parent(child.data_preprocessor(batch, True)['inputs'])

        return run

    steps = {
        DATA: lambda _: next(endless),
        ALONE: _on(batches, _step_of(runner, alone))
    }
    if any(runner.cfg.parent.get(setting) for setting in CHEAP):
        steps[PLAIN] = _on(batches,
                           forward(_plain_parent(runner, inheritance)))
    steps[PARENT] = _on(batches, forward(inheritance.parent))
    steps[_name(inheritance)] = _on(batches, step)
    tapped = [inheritance, alone]
    if features is not None:
        runner.cfg.parent.cache = str(features)
        kept = runner.inherit(copy.deepcopy(child))
        tapped.append(kept)
        steps[_name(kept) + KEPT] = _on(batches, _step_of(runner, kept))
    if published:
        steps[PUBLISHED] = _on(batches, _published(runner, inheritance))
    runner.model, runner.inheritance = child, inheritance
    for one in tapped:
        stack.enter_context(one.tapped())
    return steps


def _plain_parent(runner, inheritance: Inheritance) -> Parent:
    """The parent without what makes it cheaper."""
    parent = Parent.from_cfg({
        k: v
        for k, v in runner.cfg.parent.items() if k not in CHEAP
    })
    parent.renormalise = copy.deepcopy(inheritance.parent.renormalise)
    return parent.to(get_device())


def _published(runner, inheritance: Inheritance) -> Callable[[dict], Any]:
    parent = _plain_parent(runner, inheritance)
    child = copy.deepcopy(inheritance.child).train()
    optimizer = runner.build_optim_wrapper(runner.optim_wrapper).optimizer
    step = PublishedStep(
        child, parent.network,
        type(optimizer)(child.parameters(), **optimizer.defaults))

    def run(batch: dict) -> None:
        data = child.data_preprocessor(batch, True)
        labels = torch.cat([s.gt_label for s in data['data_samples']])
        step(parent.images(data['inputs']), labels)

    return run


def of_methods(runner, stack: ExitStack,
               plan: Plan) -> Tuple[Steps, Dict[str, int], Dict[str, Phases]]:
    """A step of every method of a comparison in each of its phases, each with
    a child of its own; how many parameters it learns in training only; and
    the phases."""
    child, batches = copy.deepcopy(runner.model), _some(_endless(runner))
    steps: Steps = {}
    extra, phases = {}, {}
    per_epoch = len(runner.train_dataloader)
    for entry in plan.entries:
        runner.cfg.method = entry.cfg.method
        inheritance = runner.inherit(copy.deepcopy(child))
        length, unit = length_of(entry.cfg)
        phases[entry.name] = Phases(inheritance.methods, length,
                                    per_epoch if unit == 'epoch' else 1,
                                    per_epoch)
        step = _on(batches, _step_of(runner, inheritance))
        for number, one in phases[entry.name].steps(step).items():
            steps[_in_phase(entry.name, number)] = one
        extra[entry.name] = sum(p.numel()
                                for p in inheritance.transfer_parameters())
        stack.enter_context(inheritance.tapped())
    return steps, extra, phases


def over_phases(figures: dict, phases: Dict[str, Phases]) -> None:
    """Put means over a training in place of the figures of its phases, and
    what trainings of other lengths take as a whole."""
    medians, halves = figures['medians'], figures['middle_half']
    figures['totals'] = {}
    figures['iterations'] = next(iter(phases.values())).iterations
    for name, one in phases.items():
        keys = [key for key in medians if key.rpartition(PHASE)[0] == name]
        seconds = [medians.pop(key) for key in keys]
        ends = [halves.pop(key) for key in keys]
        medians[name] = one.mean(seconds, one.length)
        halves[name] = [one.mean(end, one.length) for end in zip(*ends)]
        figures['totals'][name] = one.totals(seconds)


def _in_phase(name: str, number: int) -> str:
    return f'{name}{PHASE}{number}'


def _step_of(runner, inheritance: Inheritance) -> Callable[[dict], None]:
    """A whole training step of a child, with an optimiser of its own, watched
    as in a training."""
    runner.model, runner.inheritance = inheritance.child, inheritance
    optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    watch = inheritance.train().watch
    watch.guard(optim_wrapper.optimizer)

    def step(batch: dict) -> None:
        inheritance.train_step(batch, optim_wrapper)
        watch.end_step(optim_wrapper.should_update())
        watch.look()

    return step


def _endless(runner) -> Iterator[dict]:
    """Batches, pass after pass. One iterator serves a runner: a second one
    over mmengine's InfiniteSampler finds the first one's place, or nothing
    where that one was closed."""
    while True:
        yield from runner.train_dataloader


def _some(batches: Iterator[dict]) -> List[dict]:
    return list(islice(batches, BATCHES))


def _on(batches: List[dict], step: Callable[[dict], Any]) -> Callable:
    """A step in rounds over the same few batches."""
    return lambda i: step(batches[i % len(batches)])


def measure(steps: Steps, iters: int, warmup: int) -> dict:
    """Median and middle half of the seconds of each step."""
    # What is kept of the batches has to be there.
    warmup = max(warmup, BATCHES) if any(KEPT in name
                                         for name in steps) else warmup
    rounds = track(range(warmup + iters), 'timing', transient=True)
    seconds = in_turn(steps, rounds, warmup)
    return dict(
        medians={
            name: statistics.median(one)
            for name, one in seconds.items()
        },
        middle_half={
            name: middle_half(one)
            for name, one in seconds.items()
        })


def _ratios(medians: Dict[str, float], main: str,
            against: Optional[str]) -> dict:
    step, child = medians[main], medians[ALONE]
    both = child + medians.get(PLAIN, medians[PARENT])
    ratios = dict(
        relative_to_child=step / child,
        relative_to_child_plus_parent=step / both)
    if main + KEPT in medians:
        ratios['kept_relative_to_child'] = medians[main + KEPT] / child
    if PUBLISHED in medians:
        ratios['published_relative_to_step'] = medians[PUBLISHED] / step
        if main + KEPT in medians:
            ratios['published_relative_to_kept'] = (
                medians[PUBLISHED] / medians[main + KEPT])
    if against is not None:
        ratios['relative_to_other'] = step / medians[against]
    return ratios


def _deployed(runner, plan: Plan, medians: Dict[str, float],
              extra: Dict[str, int]) -> dict:
    child = runner.model.eval()
    found = get_model_complexity_info(child, inputs=runner.example(child))
    reference = medians[plan.reference]
    return dict(
        reference=plan.reference,
        relative={
            name: seconds / reference
            for name, seconds in medians.items()
        },
        extra_parameters=extra,
        parameters=found['params'],
        flops=found['flops'])


def _conditions(runner, iters: int, medians: Dict[str, float]) -> dict:
    image = runner.example(runner.model)
    size = runner.train_dataloader.batch_size
    return dict(
        batch_shape=[size, *image.shape[1:]],
        images_per_second={
            name: size / seconds
            for name, seconds in medians.items()
        },
        peak_memory=peak_memory(),
        iters=iters,
        device=device_name(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        precision=runner.cfg.optim_wrapper.get('type', 'OptimWrapper'))


def _trace(step: Callable[[int], Any], path: str) -> None:
    with torch.profiler.profile() as profiler:
        for i in range(TRACED):
            step(i)
    profiler.export_chrome_trace(path)


CAPTIONS = dict(
    relative_to_child_plus_parent='step with the method / (step of the child '
    'alone + forward of the parent as it is)',
    kept_relative_to_child='step with features kept / step of the child alone',
    published_relative_to_step='step as published / step with the method',
    published_relative_to_kept='step as published / step with the method and '
    'features kept',
    relative_to_other='step of the first config / step of the second')


def report(figures: dict) -> None:
    """Print a table."""
    shape = 'x'.join(map(str, figures['batch_shape']))
    medians = figures['medians']
    base = figures.get('reference', ALONE)
    table = Table(title=f'Medians of {figures["iters"]} rounds, batch {shape}')
    for i, name in enumerate(
        ('', 'ms', 'middle half', 'images/s', f'relative to {base}')):
        table.add_column(name, justify='right' if i else 'left')
    for name, seconds in medians.items():
        low, high = figures['middle_half'][name]
        table.add_row(name, f'{1000 * seconds:.1f}',
                      f'{1000 * low:.1f} - {1000 * high:.1f}',
                      f'{figures["images_per_second"][name]:,.0f}',
                      f'{seconds / medians[base]:.3f}')
    lines = [
        f'{words} = {figures[name]:.3f}' for name, words in CAPTIONS.items()
        if name in figures
    ]
    if 'parameters' in figures:
        lines.append(f'deployed: {figures["parameters"]:,} parameters, '
                     f'{figures["flops"]:,} FLOPs')
    lines.append(f'{figures["device"]}, {figures["threads"]} threads, torch '
                 f'{figures["torch"]}, {figures["precision"]}, at most '
                 f'{figures["peak_memory"] / 2**20:,.0f} MiB in this process')
    table.caption = '\n'.join(lines)
    Console().print(table)
