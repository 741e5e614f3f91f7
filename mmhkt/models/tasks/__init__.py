# Copyright (c) mmhkt authors. All rights reserved.
from typing import Optional

from torch import nn

from mmhkt.utils.settings import SettingError, check
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
    if settings is None:
        settings = {}
    what = f'The task {task.name}'
    check(task, settings, what, partial=True)
    if 'network' in settings:
        raise SettingError(f'{what} is given its network by the runner; '
                           'leave it out.')
    return task(network, **settings)


__all__ = [
    'Classification', 'OpticalFlow', 'Segmentation', 'TASKS', 'Task', 'task_of'
]
