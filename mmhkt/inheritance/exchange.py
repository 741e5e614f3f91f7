# Copyright (c) mmhkt authors. All rights reserved.
import copy
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator

from torch import nn


class Substitute:
    """Stands where a module's ``forward`` was.

    In ``forward``, not in a hook, it also sees modules whose ``forward`` is
    called directly. A copy of the network, of an EMA say, has the forward
    itself; so has one that a hook writes to a file.
    """

    def __init__(self, module: nn.Module):
        self.module = module
        self.forward = module.forward

    def __deepcopy__(self, memo: dict) -> Callable:
        return copy.deepcopy(self.forward, memo)

    def __reduce__(self) -> tuple:
        return getattr, (self.module, 'forward')


@contextmanager
def exchanged(forwards: Dict[nn.Module, Callable[..., Any]]) -> Iterator:
    """Exchange ``forward`` of modules; back to what it was at the end."""
    before = {module: module.__dict__.get('forward') for module in forwards}
    try:
        for module, forward in forwards.items():
            module.forward = forward
        yield
    finally:
        for module, forward in before.items():
            module.__dict__.pop('forward', None)
            if forward is not None:
                module.forward = forward
