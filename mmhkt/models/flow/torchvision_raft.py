# Copyright (c) mmhkt authors. All rights reserved.
"""torchvision's RAFT: its sizes, its weights, and what it lacks here."""
import inspect
from collections import OrderedDict
from contextlib import nullcontext
from typing import Dict, Optional, Union

import torch
from torch import Tensor, nn
from torch.nn import BatchNorm2d, InstanceNorm2d
from torchvision.models.optical_flow import raft as torchvision_raft

from mmhkt.utils import nearest, one_of, read_checkpoint, weights_of
from .warm_start import CELL, starting_from

SIZES = dict(
    large=(torchvision_raft.raft_large, torchvision_raft.Raft_Large_Weights),
    small=(torchvision_raft.raft_small, torchvision_raft.Raft_Small_Weights))
BLOCKS = dict(
    ResidualBlock=torchvision_raft.ResidualBlock,
    BottleneckBlock=torchvision_raft.BottleneckBlock)
NORMS = dict(InstanceNorm2d=InstanceNorm2d, BatchNorm2d=BatchNorm2d)
# How weights end that are no name.
FILES = ('.pth', '.pt', '.th')
# What a size consists of, all to be given.
SETTINGS = [
    name for name, parameter in inspect.signature(
        torchvision_raft._raft).parameters.items()
    if parameter.kind == parameter.KEYWORD_ONLY
    and parameter.default is parameter.empty
]


class Parts(nn.Module):
    """The two parts of what a context encoder returns, as modules.

    Args:
        hidden (int): Channels, the first ones, that the hidden state begins
            with; the rest is the context, the same in all updates.
    """

    def __init__(self, hidden: int):
        super().__init__()
        self.size = hidden
        self.hidden = nn.Identity()
        self.context = nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Args: features (Tensor): (B, C, H, W)."""
        hidden, context = features.tensor_split([self.size], dim=1)
        return torch.cat([self.hidden(hidden), self.context(context)], dim=1)


class PlainRAFT(torchvision_raft.RAFT):
    """torchvision's RAFT, with its weights' names, as a part of a network.

    What differs: its output is one tensor, an image too small for its
    correlation levels is an error that says so, it can begin from a flow,
    and it keeps no correlations after a forward pass (a model that does
    holds their memory and cannot be copied).
    """

    def forward(self,
                image1: Tensor,
                image2: Tensor,
                num_flow_updates: int = 12,
                initial_flow: Optional[Tensor] = None) -> Tensor:
        """Estimate flow.

        Args:
            image1 (Tensor): First frames, (B, 3, H, W), in [-1, 1].
            image2 (Tensor): Second frames.
            num_flow_updates (int): N. Defaults to 12.
            initial_flow (Tensor, optional): (B, 2, H / 8, W / 8), in cells
                of 8 pixels. Defaults to None: no motion.

        Returns:
            Tensor: (N, B, 2, H, W), the flow after each update, in pixels.
        """
        self._check_size(image1.shape[-2:])
        start = nullcontext() if initial_flow is None else starting_from(
            self, initial_flow)
        with start:
            flows = super().forward(image1, image2, num_flow_updates)
        self.corr_block.corr_pyramid = []
        return torch.stack(flows)

    def _check_size(self, size: torch.Size) -> None:
        levels = self.corr_block.num_levels
        # grid_sample needs two cells at the coarsest level.
        least = CELL * 2**levels
        if min(size) < least:
            raise ValueError(
                f'images of {size[0]}x{size[1]} px are too small for '
                f'{levels} correlation levels, which take {least}x{least} px '
                'and more; a smaller size of RAFT has fewer '
                '(corr_block_num_levels)')


def build_raft(size: Union[str, dict]) -> PlainRAFT:
    """Build torchvision's RAFT with random weights.

    Args:
        size (str | dict): ``'large'``, ``'small'``, or all of what
            torchvision builds those two from, see :data:`SETTINGS`; blocks
            and norms by the names of their classes.

    Raises:
        ValueError: If the size is unknown, or a setting of it is unknown,
            left out or does not fit the others.
    """
    if isinstance(size, str):
        built = SIZES[one_of('The size of RAFT', size, SIZES)][0]()
    else:
        built = torchvision_raft._raft(**_checked(size))
    children = dict(built.named_children())
    # torchvision's encoder is a sequence in all but its type.
    children['context_encoder'] = nn.Sequential(
        OrderedDict(
            **dict(built.context_encoder.named_children()),
            parts=Parts(built.update_block.hidden_state_size)))
    return PlainRAFT(**children)


def _checked(size: dict) -> dict:
    for name in size:
        if name not in SETTINGS:
            raise ValueError(f'A size of RAFT has no "{name}"; '
                             f'{nearest(name, SETTINGS)}.')
    missing = [name for name in SETTINGS if name not in size]
    if missing:
        raise ValueError(f'A size of RAFT needs {", ".join(missing)} too.')
    checked = dict(size)
    for name, value in size.items():
        if name.endswith('_block') and isinstance(value, str):
            checked[name] = BLOCKS[one_of(name, value, BLOCKS)]
        elif name.endswith('_norm_layer') and value is not None:
            checked[name] = NORMS[one_of(name, value, NORMS)]
    hidden = size['recurrent_block_hidden_state_size']
    if size['context_encoder_layers'][-1] <= hidden:
        raise ValueError(
            'The context encoder gives the hidden state and, in the channels '
            'beyond it, the context: the last of context_encoder_layers must '
            f'be more than {hidden} (recurrent_block_hidden_state_size), but '
            f'is {size["context_encoder_layers"][-1]}.')
    return checked


def check_weights(weights: str, size: Union[str, dict]) -> None:
    """See that published weights of this name exist for a size.

    Raises:
        ValueError: If not; names the nearest.
    """
    if weights.endswith(FILES):
        return
    names = SIZES[size][1].__members__ if isinstance(size, str) else ()
    if weights not in names:
        raise ValueError(
            f'There are no weights "{weights}" for a RAFT of size {size!r}; '
            f'{nearest(weights, names)}, or a file or address ending with '
            f'{", ".join(FILES)}.')


def read_weights(weights: str, size: Union[str, dict]) -> Dict[str, Tensor]:
    """Weights with torchvision's names.

    Args:
        weights (str): A name in torchvision's enumeration for the size, such
            as ``'C_T_V2'``, which is downloaded (once) and checked by
            torchvision, or a file or address of a checkpoint, torchvision's
            or ours.
        size (str | dict): See :func:`build_raft`.
    """
    if weights.endswith(FILES):
        return weights_of(
            read_checkpoint(weights), [(r'^module\.', ''), (r'^raft\.', '')])
    return SIZES[size][1][weights].get_state_dict(
        progress=True, check_hash=True)
