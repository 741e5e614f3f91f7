# Copyright (c) mmhkt authors. All rights reserved.
import torch
from torch import Tensor, nn

from mmhkt.registry import MODELS


@MODELS.register_module()
class SequenceLoss(nn.Module):
    r"""The loss of a sequence of ever better flows, as RAFT is trained.

    From `RAFT <https://arxiv.org/abs/2003.12039>`_, with the predictions
    :math:`f_1 \dots f_N` of the updates and the true flow :math:`g`,

    .. math:: L = \sum_i \gamma^{N-i} \, \overline{|f_i - g|}

    where the mean is over both components of all pixels of the batch; pixels
    that do not count add 0 to it.

    Args:
        gamma (float): Weight of an update's loss relative to the next one's,
            above 0 and at most 1. Defaults to 0.8.
        max_flow (float): In pixels; faster pixels do not count. Defaults to
            400.

    Raises:
        ValueError: If ``gamma`` or ``max_flow`` is none of these.
    """

    def __init__(self, gamma: float = 0.8, max_flow: float = 400.0):
        super().__init__()
        if not 0 < gamma <= 1:
            raise ValueError(
                f'gamma must be above 0 and at most 1, but got {gamma!r}.')
        if not max_flow > 0:
            raise ValueError(
                f'max_flow must be above 0 px, but got {max_flow!r}.')
        self.gamma = gamma
        self.max_flow = max_flow

    def forward(self, predictions: Tensor, flow: Tensor,
                valid: Tensor) -> Tensor:
        """Compare.

        Args:
            predictions (Tensor): (N, B, 2, H, W), one an update, in pixels.
            flow (Tensor): The true one, (B, 2, H, W).
            valid (Tensor): Where it is known, bool, (B, H, W).

        Returns:
            Tensor: The loss, in pixels.
        """
        counted = valid & (flow.norm(dim=1) < self.max_flow)
        # What does not count may hold anything, which times 0 can be NaN.
        errors = torch.where(counted[:, None], (predictions - flow).abs(), 0)
        updates = len(predictions)
        weights = self.gamma**torch.arange(
            updates - 1, -1, -1, device=flow.device)
        return (weights * errors.mean(dim=(1, 2, 3, 4))).sum()

    def extra_repr(self) -> str:
        return f'gamma={self.gamma}, max_flow={self.max_flow}'
