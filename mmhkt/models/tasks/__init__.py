# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Optional, Type

from torch import nn

from mmhkt.registry import TASKS
from mmhkt.utils.settings import SettingError, check
from .base import Task
from .classification import Classification
from .features import Features
from .flow import OpticalFlow
from .segmentation import Segmentation


def tasks() -> List[Type[Task]]:
    """All tasks; one of the user's own, which came later, comes first."""
    return list(reversed(TASKS.module_dict.values()))


def task_of(network: nn.Module, settings: Optional[dict] = None) -> Task:
    """The task that a network is made for.

    Args:
        network (nn.Module): The network.
        settings (dict, optional): Of the task. Defaults to None.

    Raises:
        TypeError: If it is none of the supported ones.
        ValueError: If the task has no such setting.
    """
    for task in tasks():
        if task.owns(network):
            break
    else:
        known = ', '.join(f'{task.networks} ({task.name})' for task in tasks())
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
    'Classification', 'Features', 'OpticalFlow', 'Segmentation', 'Task',
    'task_of', 'tasks'
]
