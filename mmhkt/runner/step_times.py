# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt benchmark`` does: time the steps of methods."""
import copy
import json
import tempfile
from argparse import Namespace
from contextlib import ExitStack
from functools import partial
from itertools import islice

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.device import get_device
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmhkt.comparison.plan import make_plan
from mmhkt.methods import Alone
from mmhkt.models import Inheritance
from mmhkt.registry import RUNNERS
from mmhkt.utils.config import (ConfigError, load_config, set_amp,
                                set_dataloader_defaults)
from mmhkt.utils.files import write_text
from mmhkt.utils.timing import medians


def run(args: Namespace) -> None:
    """Do what the command line says."""
    cfg = load_config(args.config, args.cfg_options)
    plan = None
    if 'comparison' in cfg:
        plan = make_plan([args.config], options=args.cfg_options)
        cfg = plan.entries[0].cfg
    if cfg.get('parent'):
        cfg.parent.pop('cache', None)  # what is timed is to be computed
    set_amp(cfg, args.amp)
    set_dataloader_defaults(cfg, ('train_dataloader', ))
    cfg.log_level = 'ERROR'
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        runner = RUNNERS.build(cfg)
        runner.connect()
        if plan is None:
            figures = measure(runner, args.iters, args.warmup)
        else:
            figures = measure_methods(runner, plan, args.iters, args.warmup)
    report(figures)
    if args.json:
        write_text(args.json, json.dumps(figures, indent=2))


def measure(runner, iters: int, warmup: int) -> dict:
    inheritance, child = runner.inheritance, runner.model
    if inheritance.parent is None:
        raise ConfigError('the method of this config has no parent, so that '
                          'there is nothing to compare')
    # Its own weights: a child that both train would be the parent's too.
    other = copy.deepcopy(child)
    alone = Inheritance(other, None, [Alone()], runner.example(other))
    step_of_method = step_of(runner, inheritance)
    step_alone = step_of(runner, alone)
    parent = inheritance.parent

    @torch.no_grad()
    def parent_forward(batch):
        with step_of_method.keywords['optim_wrapper'].optim_context(child):
            inputs = child.data_preprocessor(batch, True)['inputs']
            parent.network(parent.images(inputs))

    steps = {
        'child alone, step': step_alone,
        'parent, forward': parent_forward,
        f'{inheritance.methods[0].name}, step': step_of_method,
    }
    with inheritance.tapped(), alone.tapped():
        seconds = timed(runner, steps, iters, warmup)
    child, parent, method = seconds.values()
    return dict(
        medians=seconds,
        relative_to_child=method / child,
        relative_to_child_plus_parent=method / (child + parent),
        **conditions(runner, iters))


def measure_methods(runner, plan, iters: int, warmup: int) -> dict:
    """Every method of a comparison, each with a child of its own."""
    child = copy.deepcopy(runner.model)
    steps, extra = {}, {}
    with ExitStack() as stack:
        for entry in plan.entries:
            runner.cfg.method = entry.cfg.method
            inheritance = runner.inherit(copy.deepcopy(child))
            steps[entry.name] = step_of(runner, inheritance)
            extra[entry.name] = sum(p.numel()
                                    for p in inheritance.transfer_parameters())
            stack.enter_context(inheritance.tapped())
        seconds = timed(runner, steps, iters, warmup)
    reference = seconds[plan.reference]
    deployed = get_model_complexity_info(
        child.eval(), inputs=runner.example(child))
    return dict(
        medians=seconds,
        reference=plan.reference,
        relative={
            name: s / reference
            for name, s in seconds.items()
        },
        extra_parameters=extra,
        parameters=deployed['params'],
        flops=deployed['flops'],
        **conditions(runner, iters))


def step_of(runner, inheritance: Inheritance) -> partial:
    """A whole training step of a child, with an optimiser of its own."""
    runner.model, runner.inheritance = inheritance.child, inheritance
    return partial(
        inheritance.train().train_step,
        optim_wrapper=runner.build_optim_wrapper(runner.optim_wrapper))


def timed(runner, steps: dict, iters: int, warmup: int) -> dict:
    """The median seconds of each step, in a round on the same batch."""
    batches = list(islice(runner.train_dataloader, min(iters + warmup, 8)))
    return medians(
        {
            name: lambda i, step=step: step(batches[i % len(batches)])
            for name, step in steps.items()
        }, track(range(warmup + iters), 'timing', transient=True), warmup)


def conditions(runner, iters: int) -> dict:
    image = runner.example(runner.model)
    return dict(
        batch_shape=[runner.train_dataloader.batch_size, *image.shape[1:]],
        iters=iters,
        device=device_name(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        precision=runner.cfg.optim_wrapper.get('type', 'OptimWrapper'))


def device_name() -> str:
    if get_device() == 'cuda':
        return torch.cuda.get_device_name()
    return 'cpu'


def report(figures: dict) -> None:
    shape = 'x'.join(map(str, figures['batch_shape']))
    medians = figures['medians']
    base = figures.get('reference', next(iter(medians)))
    table = Table(title=f'Medians of {figures["iters"]} rounds, batch {shape}')
    table.add_column('')
    table.add_column('ms', justify='right')
    table.add_column(f'relative to {base}', justify='right')
    for name, seconds in medians.items():
        table.add_row(name, f'{1000 * seconds:.1f}',
                      f'{seconds / medians[base]:.3f}')
    if 'relative_to_child_plus_parent' in figures:
        table.caption = (
            'step with the method / (step of the child alone + forward of the '
            f'parent) = {figures["relative_to_child_plus_parent"]:.3f}\n')
    else:
        table.caption = (f'deployed: {figures["parameters"]:,} parameters, '
                         f'{figures["flops"]:,} FLOPs\n')
    table.caption += (f'{figures["device"]}, {figures["threads"]} threads, '
                      f'torch {figures["torch"]}, {figures["precision"]}')
    Console().print(table)
