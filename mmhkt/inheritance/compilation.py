# Copyright (c) mmhkt authors. All rights reserved.
import copy
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Callable, Dict, Iterator, Optional

import torch
from torch import nn

from .tape import Tap


@contextmanager
def compiled(network: nn.Module, taps: Dict[str, Tap],
             compile_cfg: Optional[dict]) -> Iterator:
    """Compile what lies between a network's taps, in place.

    A tap is Python and changes what it does from pass to pass. Compiled are
    therefore the largest modules without a tap inside, each by itself, so
    that the graphs of all passes and of the whole schedule are the same.

    Args:
        network (nn.Module): The network.
        taps (dict[str, Tap]): Module -> its tap, not put on yet.
        compile_cfg (dict, optional): Arguments of ``torch.compile``. None
            compiles nothing.
    """
    units = [] if compile_cfg is None else list(_units(network, taps))
    before = {module: module.__dict__.get('forward') for _, module in units}
    for name, module in units:
        holder = taps.get(name, module)
        holder.forward = Compiled(module, compile_cfg)
    try:
        yield
    finally:
        for name, module in units:
            if name not in taps:
                module.__dict__.pop('forward', None)
                if before[module] is not None:
                    module.forward = before[module]


class Compiled:
    """A module's ``forward``, compiled; a copy of the module has it plain."""

    def __init__(self, module: nn.Module, compile_cfg: dict):
        self.module = module
        self.forward = module.forward
        self.run = torch.compile(
            _with_code_of_its_own(self.forward), **compile_cfg)

    def __call__(self, *args, **kwargs) -> Any:
        return self.run(*args, **kwargs)

    def __deepcopy__(self, memo: dict) -> Callable:
        return copy.deepcopy(self.forward, memo)

    def __reduce__(self) -> tuple:
        return getattr, (self.module, 'forward')


def _units(module: nn.Module,
           taps: Dict[str, Tap],
           path: str = '') -> Iterator:
    prefix = f'{path}.' if path else ''
    tap_inside = any(n.startswith(prefix) and n != path for n in taps)
    if tap_inside or isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        for name, child in module.named_children():
            yield from _units(child, taps, prefix + name)
    elif len(module._modules) > 0:
        # A single convolution or norm is not worth a graph.
        yield path, module


def _with_code_of_its_own(forward: Callable) -> Callable:
    # Dynamo keeps its graphs, and their limit, by code object; stages of one
    # class share theirs, and would count as one function of many shapes.
    def run(*args, **kwargs) -> Any:
        return forward(*args, **kwargs)

    return FunctionType(run.__code__.replace(), run.__globals__, 'run', None,
                        run.__closure__)
