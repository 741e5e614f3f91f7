# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import contextmanager
from typing import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Pixels of the image a cell of RAFT's grid.
CELL = 8


@contextmanager
def starting_from(raft: nn.Module, flow: Tensor) -> Iterator:
    """Let torchvision's RAFT begin from a flow in place of none, once.

    torchvision's has no argument for it. What it does in the first update
    with the flow so far, which is 0 there, is done with ``flow``: it is where
    correlations are looked up and what the motion encoder is given. Added to
    the flow's first change it is part of every later one. Zeros change
    nothing, to the bit.

    Args:
        raft (RAFT): torchvision's.
        flow (Tensor): (B, 2, H / 8, W / 8), in cells of 8 pixels.
    """
    lookup = raft.corr_block.index_pyramid

    def first_lookup(centroids_coords: Tensor) -> Tensor:
        del raft.corr_block.index_pyramid
        return lookup(centroids_coords + flow)

    def before_first(block: nn.Module, args: tuple) -> tuple:
        before.remove()
        return (*args[:-1], flow)

    def after_first(block: nn.Module, args: tuple, output: tuple) -> tuple:
        after.remove()
        hidden_state, delta_flow = output
        return hidden_state, delta_flow + flow

    raft.corr_block.index_pyramid = first_lookup
    before = raft.update_block.register_forward_pre_hook(before_first)
    after = raft.update_block.register_forward_hook(after_first)
    try:
        yield
    finally:
        before.remove()
        after.remove()
        raft.corr_block.__dict__.pop('index_pyramid', None)


def in_cells(flow: Tensor) -> Tensor:
    """A flow in pixels, (B, 2, H, W), as :func:`starting_from` takes it."""
    return F.avg_pool2d(flow, CELL) / CELL


def carry_forward(flow: Tensor) -> Tensor:
    """What to begin the next pair of a video from.

    As RAFT does on Sintel: every pixel takes its flow along to where it goes,
    and what nobody went to takes the flow nearest to it. Done on the grid of
    the network.

    Args:
        flow (Tensor): (2, H, W) in pixels, of the pair before.

    Returns:
        Tensor: (2, H, W) in pixels, to be set as ``init_flow`` of a
        :class:`mmhkt.structures.FlowDataSample`; zeros where everything
        left the image.
    """
    from scipy.spatial import cKDTree

    size = flow.shape[-2:]
    grid = [-(-length // CELL) for length in size]
    coarse = F.interpolate(flow[None], size=grid, mode='area')[0]
    values = coarse.flatten(1).T.double().cpu().numpy()
    rows, columns = np.indices(grid)
    cells = np.stack([columns, rows], -1).reshape(-1, 2)
    targets = cells + values / CELL
    inside = ((targets > 0) & (targets < grid[::-1])).all(1)
    if not inside.any():
        return torch.zeros_like(flow)
    nearest = cKDTree(targets[inside]).query(cells)[1]
    carried = torch.from_numpy(values[inside][nearest].T).to(flow)
    return F.interpolate(
        carried.reshape(1, 2, *grid), size=size, mode='nearest')[0]
