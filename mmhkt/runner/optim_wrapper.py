# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from torch import nn

from mmhkt.registry import OPTIM_WRAPPERS

DTYPES = dict(bfloat16=torch.bfloat16, float16=torch.float16)


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Mixed precision without loss scaling, on CPU as well.

    mmengine's ``AmpOptimWrapper`` refuses CPUs. bfloat16 has the exponents
    of float32, so that no gradient has to be scaled.

    Args:
        dtype (str): ``'bfloat16'`` or ``'float16'``. Defaults to
            ``'bfloat16'``.
        **kwargs: As in :class:`mmengine.optim.OptimWrapper`.
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs):
        super().__init__(**kwargs)
        self.dtype = DTYPES[dtype]

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator:
        """Autocast around the forward pass."""
        with super().optim_context(model), autocast(
                device_type=get_device(), dtype=self.dtype):
            yield
