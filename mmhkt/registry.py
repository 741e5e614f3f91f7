# Copyright (c) mmhkt authors. All rights reserved.
"""The registries of scope ``mmhkt``, children of mmengine's.

``type='mmhkt.Name'`` in any OpenMMLab config imports this file by itself, so
a config needs no ``custom_imports`` to use what is registered here.
"""
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

from .utils.settings import CheckedRegistry

RUNNERS = CheckedRegistry(
    'runner', parent=MMENGINE_RUNNERS, locations=['mmhkt.runner'])
LOOPS = CheckedRegistry(
    'loop', parent=MMENGINE_LOOPS, locations=['mmhkt.runner'])
OPTIM_WRAPPERS = CheckedRegistry(
    'optim_wrapper',
    parent=MMENGINE_OPTIM_WRAPPERS,
    locations=['mmhkt.runner'])
HOOKS = CheckedRegistry(
    'hook', parent=MMENGINE_HOOKS, locations=['mmhkt.hooks'])
DATASETS = CheckedRegistry(
    'dataset', parent=MMENGINE_DATASETS, locations=['mmhkt.datasets'])
DATA_SAMPLERS = CheckedRegistry(
    'data sampler',
    parent=MMENGINE_DATA_SAMPLERS,
    locations=['mmhkt.datasets'])
TRANSFORMS = CheckedRegistry(
    'transform', parent=MMENGINE_TRANSFORMS, locations=['mmhkt.datasets'])
MODELS = CheckedRegistry(
    'model',
    parent=MMENGINE_MODELS,
    locations=['mmhkt.models', 'mmhkt.inheritance'])
METRICS = CheckedRegistry(
    'metric', parent=MMENGINE_METRICS, locations=['mmhkt.evaluation'])
VISUALIZERS = CheckedRegistry(
    'visualizer',
    parent=MMENGINE_VISUALIZERS,
    locations=['mmhkt.visualization'])
# What is known of the networks of a task: classification, ...; one file each.
TASKS = Registry('task', scope='mmhkt', locations=['mmhkt.models.tasks'])
# How a child inherits: HKT, LePoKet, Alone, ...
METHODS = CheckedRegistry('method', scope='mmhkt', locations=['mmhkt.methods'])
