# Copyright (c) mmhkt authors. All rights reserved.
import torch
from torch import Tensor


class KnownGradient(torch.autograd.Function):
    """A value whose gradients were computed with it.

    ``KnownGradient.apply(value, *gradients, *tensors)``, as many of the one
    as of the other, is ``value``, a scalar; its gradient with respect to each
    tensor is the one given.
    """

    @staticmethod
    def forward(ctx, value: Tensor, *rest: Tensor) -> Tensor:
        """The value; its gradients are kept."""
        ctx.save_for_backward(*rest[:len(rest) // 2])
        return value.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        """None for the value and for gradients, then those given."""
        known = ctx.saved_tensors
        return (None, *[None] * len(known), *[grad * one for one in known])
