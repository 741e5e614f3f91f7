# Copyright (c) mmhkt authors. All rights reserved.
from types import FunctionType
from typing import Any, Callable, Collection, Dict, Iterator

import torch
from torch import nn

from .exchange import Substitute


class Compiled(Substitute):
    """A module's ``forward``, compiled."""

    def __init__(self, module: nn.Module, compile_cfg: dict):
        super().__init__(module)
        self.run = torch.compile(
            _with_code_of_its_own(self.forward), **compile_cfg)

    def __call__(self, *args, **kwargs) -> Any:
        return self.run(*args, **kwargs)


def compiled(network: nn.Module, tapped: Collection[str],
             compile_cfg: dict) -> Dict[str, Compiled]:
    """What lies between a network's taps, compiled.

    A tap is Python and changes what it does from pass to pass. Compiled are
    therefore the largest modules without a tap inside, each by itself, so
    that the graphs of all passes and of the whole schedule are the same.

    Args:
        network (nn.Module): The network.
        tapped (Collection[str]): The modules with a tap.
        compile_cfg (dict): Arguments of ``torch.compile``.

    Returns:
        dict[str, Compiled]: Module -> what is to stand for its ``forward``.
    """
    return {
        name: Compiled(network.get_submodule(name), compile_cfg)
        for name in _units(network, tapped)
    }


def _units(module: nn.Module,
           tapped: Collection[str],
           path: str = '') -> Iterator[str]:
    prefix = f'{path}.' if path else ''
    tap_inside = any(n.startswith(prefix) and n != path for n in tapped)
    if tap_inside or isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        for name, child in module.named_children():
            yield from _units(child, tapped, prefix + name)
    elif len(module._modules) > 0:
        # A single convolution or norm is not worth a graph.
        yield path


def _with_code_of_its_own(forward: Callable) -> Callable:
    # Dynamo keeps its graphs, and their limit, by code object; stages of one
    # class share theirs, and would count as one function of many shapes.
    def run(*args, **kwargs) -> Any:
        return forward(*args, **kwargs)

    return FunctionType(run.__code__.replace(), run.__globals__, 'run', None,
                        run.__closure__)
