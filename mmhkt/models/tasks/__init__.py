# Copyright (c) mmhkt authors. All rights reserved.
from torch import nn

from .classification import Classification

TASKS = (Classification, )


def task_of(network: nn.Module):
    """The task that a network is made for.

    Raises:
        TypeError: If it is none of the supported ones.
    """
    for task in TASKS:
        if task.owns(network):
            return task()
    known = ', '.join(f'{task.networks} ({task.name})' for task in TASKS)
    raise TypeError(f'{type(network).__name__} belongs to no supported task; '
                    f'supported: {known}.')


__all__ = ['Classification', 'TASKS', 'task_of']
