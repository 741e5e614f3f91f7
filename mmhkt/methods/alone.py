# Copyright (c) mmhkt authors. All rights reserved.
from typing import Dict

from torch import Tensor

from mmhkt.registry import METHODS
from .base import Method
from .step import Step


@METHODS.register_module()
class Alone(Method):
    """The child alone: what every method is compared with.

    No parent is loaded or run. The initial weights and the batches are those
    that every other method starts from and sees under the same seed.
    """

    needs_parent = False

    def forward(self, step: Step) -> Dict[str, Tensor]:
        return {}
