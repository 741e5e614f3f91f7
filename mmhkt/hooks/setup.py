# Copyright (c) mmhkt authors. All rights reserved.
"""What a reader of a result has to know about the run that made it."""
import platform
from typing import Any, Dict, Optional

import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapperDict

from mmhkt.dependencies import find_providers, installed_version
from mmhkt.version import __version__

PACKAGES = ('torch', 'torchvision', 'numpy', 'scipy', 'statsmodels')


def setup_of(runner) -> Dict[str, Any]:
    """What was trained on which data, how, and on what machine.

    Args:
        runner (Runner): Whose training is about to begin.
    """
    optimizer = runner.optim_wrapper
    train = runner.train_dataloader
    several = isinstance(optimizer, OptimWrapperDict)
    return dict(
        training_data=_data(train),
        test_data=_data(runner.val_dataloader)
        if runner.val_loop is not None else None,
        batch=(getattr(train, 'batch_size', None) or 0) * get_world_size(),
        optimizer='several' if several else _optimizer(optimizer),
        precision='several' if several else _precision(optimizer),
        schedule=_schedule(runner),
        device=device_name(),
        processor=_processor(),
        processes=get_world_size(),
        threads=torch.get_num_threads(),
        platform=f'{platform.system()} {platform.machine()}',
        packages=dict(
            python=platform.python_version(), mmhkt=__version__,
            **_versions()))


def _data(loader) -> Dict[str, Any]:
    dataset = loader.dataset
    meta = getattr(dataset, 'metainfo', None) or {}
    inner, where = dataset, None
    # Of one that is wrapped (repeated, for instance), where the innermost is.
    while inner is not None and where is None:
        where = _where(inner)
        inner = getattr(inner, 'dataset', None)
    return dict(
        type=type(dataset).__name__,
        where=where,
        split=getattr(dataset, 'split', None) or None,
        images=len(dataset),
        classes=len(meta.get('classes') or ()) or None)


def _where(dataset) -> Optional[str]:
    prefix = getattr(dataset, 'data_prefix', None)
    prefix = prefix.get('img_path') if isinstance(prefix, dict) else prefix
    for value in (getattr(dataset, 'ann_file',
                          None), prefix, getattr(dataset, 'data_root', None)):
        if isinstance(value, str) and value:
            return value
    return None


def _optimizer(wrapper) -> str:
    """``'SGD, lr 0.1, weight_decay 0.0005, ...'`` as it begins."""
    optimizer = wrapper.optimizer
    shown = [type(optimizer).__name__]
    group = optimizer.param_groups[0]
    first = dict(lr=group.get('initial_lr', group['lr']))
    for name in ('lr', 'momentum', 'nesterov', 'betas', 'weight_decay'):
        value = first.get(name, group.get(name))
        if value not in (None, False, 0):
            shown.append(name if value is True else f'{name} {_short(value)}')
    if wrapper.clip_grad_kwargs:
        shown.append(f'clipped {wrapper.clip_grad_kwargs}')
    if wrapper._accumulative_counts > 1:
        shown.append(f'accumulated {wrapper._accumulative_counts}')
    return ', '.join(shown)


def _short(value) -> str:
    if isinstance(value, (tuple, list)):
        return f'({", ".join(map(_short, value))})'
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _precision(wrapper) -> str:
    kind = type(wrapper).__name__
    if kind == 'AmpOptimWrapper':
        dtype = wrapper.cast_dtype or torch.get_autocast_dtype('cuda')
        return f'mixed, {str(dtype).removeprefix("torch.")}'
    if kind == 'AutocastOptimWrapper':
        return 'mixed, bfloat16'
    if kind == 'OptimWrapper':
        return str(torch.get_default_dtype()).removeprefix('torch.')
    return kind


def _schedule(runner) -> str:
    schedulers = runner.param_schedulers
    if isinstance(schedulers, dict):
        schedulers = [s for several in schedulers.values() for s in several]
    return ', '.join(type(s).__name__ for s in schedulers or ()) or 'constant'


def device_name() -> str:
    """A GPU's model, or ``'CPU'``."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return 'CPU'


def _processor() -> str:
    """The CPU's model; ``platform.processor`` leaves it out on Linux."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _versions() -> Dict[str, str]:
    providers = {
        name: next(iter(found.items()), None)
        for name, found in find_providers().items()
    }
    versions = {name: installed_version(name) for name in PACKAGES}
    # Two families of distributions provide these: the name says which.
    versions.update({
        distribution: version
        for distribution, (_, version) in filter(None, providers.values())
    })
    return {name: v for name, v in versions.items() if v is not None}
