# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import contextmanager
from typing import Iterator

import torch
from torch import nn

BUFFERS = ('running_mean', 'running_var', 'num_batches_tracked')


class RunningStatistics:
    """The running statistics of a network's norms.

    They belong to the network that is deployed, and are learned in its own
    forward pass alone: not from mixtures beside it, and not once more when
    activation checkpointing runs a part of it again.

    Args:
        network (nn.Module): The network, after every conversion of its
            norms (SyncBN).
    """

    def __init__(self, network: nn.Module):
        # All that keep something: some assign a new tensor in each step.
        self._modules = [m for m in network.modules() if m._buffers]
        self._norms = [
            module for module in self._modules
            if module._buffers.get('running_mean') is not None
        ]

    @contextmanager
    def finite(self) -> Iterator:
        """Let the norms learn while the network runs, but nothing that is
        not finite, which would stay in them for good."""
        buffers = [
            norm._buffers[name] for norm in self._norms for name in BUFFERS[:2]
            if norm.training and norm._buffers.get(name) is not None
        ]
        if not buffers:
            yield
            return
        before = _flat(buffers)
        yield
        after = _flat(buffers)
        after = torch.where(after.isfinite(), after, before)
        # In `data`, since autograd has saved the buffers, which it does not
        # use.
        torch._foreach_copy_([buffer.data for buffer in buffers], [
            part.view_as(buffer) for part, buffer in zip(
                after.split([b.numel() for b in buffers]), buffers)
        ])

    @contextmanager
    def kept(self) -> Iterator:
        """Keep them while the network runs in training mode."""
        before = [(module, dict(module._buffers)) for module in self._modules]
        for norm in self._norms:
            if norm.training:  # else it reads them
                # The norm learns in copies and stays as it is otherwise: what
                # it computes, and what autograd saves of it, must not differ
                # from its own pass.
                norm._buffers.update({
                    name: norm._buffers[name].clone()
                    for name in BUFFERS if norm._buffers.get(name) is not None
                })
        try:
            yield
        finally:
            for module, own in before:
                module._buffers.update(own)


def _flat(buffers: list) -> torch.Tensor:
    return torch.cat([buffer.flatten() for buffer in buffers])
