# Copyright (c) mmhkt authors. All rights reserved.
"""What inheritance costs a training step.

Times, alternating in one run and on the same batches: a step of the child
alone, the parent's forward without gradients, and a step of the config's
method; or, if the config has a ``comparison``, a step of each of its methods.
Prints the medians and what they come to in relation to each other.
"""
import argparse
import copy
import json
import statistics
import tempfile
import time
from functools import partial
from itertools import islice

# First: it checks what is installed and makes `mmhkt::` configs known.
import mmhkt  # noqa: F401  isort: skip
import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import DictAction
from mmengine.device import get_device
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmhkt.comparison.plan import make_plan
from mmhkt.methods import Alone
from mmhkt.models import HereditaryModel
from mmhkt.registry import RUNNERS
from mmhkt.utils.config import (CONFIG_ERRORS, load_config, quieten, set_amp,
                                set_dataloader_defaults)
from mmhkt.utils.files import write_text


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='path of a config with a method or a comparison')
    parser.add_argument(
        '--iters', type=int, default=20, help='timed rounds (default 20)')
    parser.add_argument(
        '--warmup', type=int, default=3, help='untimed rounds (default 3)')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--json', help='write the figures to this file too')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='as in train.py')
    return parser.parse_args()


def clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def main():
    args = parse_args()
    quieten()
    try:
        cfg = load_config(args.config, args.cfg_options)
        plan = None
        if 'comparison' in cfg:
            plan = make_plan([args.config], options=args.cfg_options)
            cfg = plan.entries[0].cfg
    except CONFIG_ERRORS as error:
        raise SystemExit(f'mmhkt: {error}') from None
    if cfg.get('parent'):
        cfg.parent.pop('cache', None)  # what is timed is to be computed
    set_amp(cfg, args.amp)
    set_dataloader_defaults(cfg, ('train_dataloader', ))
    cfg.log_level = 'ERROR'
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        runner = RUNNERS.build(cfg)
        child = copy.deepcopy(runner.model)
        runner.prepare(train=True)
        if plan is None:
            figures = measure(runner, args.iters, args.warmup)
        else:
            figures = measure_methods(runner, child, plan, args.iters,
                                      args.warmup)
    report(figures)
    if args.json:
        write_text(args.json, json.dumps(figures, indent=2))


def measure(runner, iters: int, warmup: int) -> dict:
    model = runner.model
    if model.parent is None:
        raise SystemExit('mmhkt: the method of this config has no parent, '
                         'so that there is nothing to compare')
    alone = HereditaryModel(model.child, None, [Alone()],
                            runner.example(model.child))
    optim_cfg = runner.optim_wrapper
    runner.model = alone
    optim_alone = runner.build_optim_wrapper(optim_cfg)
    runner.model = model
    optim_method = runner.build_optim_wrapper(optim_cfg)
    model.train()

    @torch.no_grad()
    def parent_forward(batch):
        with optim_method.optim_context(model):
            inputs = model.data_preprocessor(batch, True)['inputs']
            model.parent.network(model.parent.images(inputs))

    steps = {
        'child alone, step':
        lambda batch: alone.train_step(batch, optim_alone),
        'parent, forward':
        parent_forward,
        f'{model.methods[0].name}, step':
        lambda batch: model.train_step(batch, optim_method),
    }
    medians = timed(runner, steps, iters, warmup)
    child, parent, method = medians.values()
    return dict(
        medians=medians,
        relative_to_child=method / child,
        relative_to_child_plus_parent=method / (child + parent),
        **conditions(runner, optim_method, iters))


def measure_methods(runner, child, plan, iters: int, warmup: int) -> dict:
    """Every method of a comparison, each with a child of its own."""
    optim_cfg = runner.optim_wrapper
    steps, extra = {}, {}
    for entry in plan.entries:
        runner.cfg.method = entry.cfg.method
        model = runner.model = runner.inherit(copy.deepcopy(child)).train()
        optim = runner.build_optim_wrapper(optim_cfg)
        steps[entry.name] = partial(model.train_step, optim_wrapper=optim)
        extra[entry.name] = sum(p.numel() for p in model.transfer_parameters())
    medians = timed(runner, steps, iters, warmup)
    reference = medians[plan.reference]
    deployed = get_model_complexity_info(
        child.eval(), inputs=runner.example(child))
    return dict(
        medians=medians,
        reference=plan.reference,
        relative={
            name: s / reference
            for name, s in medians.items()
        },
        extra_parameters=extra,
        parameters=deployed['params'],
        flops=deployed['flops'],
        **conditions(runner, optim, iters))


def timed(runner, steps: dict, iters: int, warmup: int) -> dict:
    """The median seconds of each step; they take turns, so that whatever
    else the machine does meets them all."""
    batches = list(islice(runner.train_dataloader, min(iters + warmup, 8)))
    seconds = {name: [] for name in steps}
    for i in track(range(warmup + iters), 'timing', transient=True):
        batch = batches[i % len(batches)]
        for name, step in steps.items():
            start = clock()
            step(batch)
            if i >= warmup:
                seconds[name].append(clock() - start)
    return {name: statistics.median(s) for name, s in seconds.items()}


def conditions(runner, optim, iters: int) -> dict:
    image = runner.example(runner.model.child)
    return dict(
        batch_shape=[runner.train_dataloader.batch_size, *image.shape[1:]],
        iters=iters,
        device=device_name(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        precision=type(optim).__name__)


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


if __name__ == '__main__':
    main()
