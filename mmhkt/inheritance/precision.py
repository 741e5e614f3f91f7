# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import nullcontext
from typing import Any, ContextManager, Optional

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

# What autocast runs in a lower precision, and whose weights can be kept so.
LOWERED = (nn.modules.conv._ConvNd, nn.Linear)


class Precision:
    """The types in which a frozen network computes and its features are kept.

    Args:
        compute (torch.dtype, optional): It runs under autocast of this type,
            and its convolutions and linear layers hold their weights in it.
            Defaults to None, as the training does.
        keep (torch.dtype, optional): Features are rounded to it, so that they
            take less room where they are kept. Defaults to None.
    """

    def __init__(self,
                 compute: Optional[torch.dtype] = None,
                 keep: Optional[torch.dtype] = None):
        self.compute = compute
        self.keep = keep

    def __repr__(self) -> str:
        return f'{self.compute} {self.keep}'

    def lower(self, network: nn.Module) -> None:
        """Hold the weights in the type that they are used in."""
        if self.compute is None:
            return
        for module in network.modules():
            if isinstance(module, LOWERED):
                module.to(self.compute)

    def running(self, device: torch.device) -> ContextManager:
        """Within this the network is run."""
        if self.compute is None:
            return nullcontext()
        return torch.autocast(torch.device(device).type, self.compute)

    def rounded(self, output: Any) -> Any:
        """What is kept of an output."""
        return output if self.keep is None else _as(output, self.keep)

    def given(self, output: Any) -> Any:
        """What is handed on of an output: float32, or what the training's
        autocast takes."""
        if self.compute is None and self.keep is None:
            return output
        for feature in tree_leaves(output):
            if isinstance(feature, Tensor) and torch.is_autocast_enabled(
                    feature.device.type):
                return output
        return _as(output, torch.float32)


def _as(output: Any, dtype: torch.dtype) -> Any:
    return tree_map(
        lambda value: value.to(dtype)
        if isinstance(value, Tensor) and value.is_floating_point() else value,
        output)
