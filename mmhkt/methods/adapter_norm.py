# Copyright (c) mmhkt authors. All rights reserved.
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AdapterNorm(nn.BatchNorm2d):
    """The batch norm of what is learned beside the child.

    It differs from torch's in training, in two ways.

    Where a channel has one value only (the last batch of an epoch is one
    image, its feature pooled) there is no variance to divide by, and torch's
    raises. Here such a batch is normalised by the running statistics, as an
    evaluated one is: it then still teaches the child, and nothing is learned
    from a variance of 0.

    A batch that is not finite leaves the running statistics as they were:
    its step is skipped under mixed precision, but what has entered an
    average would never leave it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        one_value = x.numel() == x.shape[1]
        training = self.training and not one_value
        # Updated beside the originals, which only then can still be kept.
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        y = F.batch_norm(x, mean, variance, self.weight, self.bias, training,
                         self.momentum, self.eps)
        if training:
            # One decision for both, made where the feature is.
            finite = (mean + variance).isfinite().all()
            for running, new in ((self.running_mean, mean), (self.running_var,
                                                             variance)):
                running.copy_(torch.where(finite, new, running))
        return y
