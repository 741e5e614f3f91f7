# Copyright (c) mmhkt authors. All rights reserved.
import inspect
from typing import Optional

from torch import nn

from mmhkt.utils import nearest
from .base import Task
from .classification import Classification
from .flow import OpticalFlow
from .segmentation import Segmentation

TASKS = (Classification, Segmentation, OpticalFlow)


def task_of(network: nn.Module, settings: Optional[dict] = None) -> Task:
    """The task that a network is made for.

    Args:
        network (nn.Module): The network.
        settings (dict, optional): Of the task. Defaults to None.

    Raises:
        TypeError: If it is none of the supported ones.
        ValueError: If the task has no such setting.
    """
    for task in TASKS:
        if task.owns(network):
            break
    else:
        known = ', '.join(f'{task.networks} ({task.name})' for task in TASKS)
        raise TypeError(f'{type(network).__name__} belongs to no supported '
                        f'task; supported: {known}.')
    valid = list(inspect.signature(task).parameters)[1:]
    for name in settings or ():
        if name not in valid:
            raise ValueError(f'The task {task.name} has no setting "{name}"; '
                             f'{nearest(name, valid)}.')
    return task(network, **(settings or {}))


__all__ = [
    'Classification', 'OpticalFlow', 'Segmentation', 'TASKS', 'Task', 'task_of'
]
