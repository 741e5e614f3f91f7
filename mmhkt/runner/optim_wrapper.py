# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from torch import nn

from mmhkt.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Mixed precision in bfloat16, on CPU as well.

    mmengine's ``AmpOptimWrapper`` refuses CPUs. bfloat16 has the exponents
    of float32, so that no gradient has to be scaled. The arguments are those
    of :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator:
        """Autocast around the forward pass."""
        with super().optim_context(model), autocast(
                device_type=get_device(), dtype=torch.bfloat16):
            yield
