# Copyright (c) mmhkt authors. All rights reserved.
from typing import Sequence

import torch
from torch import nn

# The rate up to which gradients are bounded alike.
RATE = 0.1


@torch.no_grad()
def bound_gradients(parameters: Sequence[nn.Parameter],
                    ratio: float,
                    scale: float = 1.0,
                    rate: float = RATE) -> None:
    r"""Shrink gradients that are large beside what they change.

    With the norms over all parameters, a gradient :math:`g` of weights
    :math:`w` becomes

    .. math:: g \min(1, \rho \lVert w \rVert / \lVert g \rVert), \qquad
        \rho = \text{ratio} \cdot \min(1, 0.1 / \eta),

    gradient clipping at a norm that is relative to that of the weights. It
    asks for no figure that depends on the network: weights behind a batch
    norm get gradients that are the smaller the larger they are, and a step
    counts by how far it turns them. At learning rates :math:`\eta` above 0.1
    it is a step of SGD that is bounded, at a tenth of the ratio: with a bound
    for the gradient alone a ResNet-8's first stage dies at 0.8, which suits
    it without a parent. The host does not wait.

    Args:
        parameters (Sequence[Parameter]): Those without a gradient are
            skipped.
        ratio (float): :math:`\rho`.
        scale (float): What the gradients have been multiplied by, as a
            gradient scaler does. Defaults to 1.
        rate (float): The learning rate. Defaults to 0.1.
    """
    changed = [p for p in parameters if p.grad is not None]
    if not changed:
        return
    gradients = [p.grad for p in changed]
    own, steep = (_norm(values) for values in (changed, gradients))
    ratio *= min(1.0, RATE / rate) if rate > 0 else 1.0
    factor = (ratio * scale * own / steep).clamp_max(1.0)
    torch._foreach_mul_(gradients, factor)


def _norm(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    widest = torch.float64 if any(t.dtype == torch.float64
                                  for t in tensors) else torch.float32
    norms = torch._foreach_norm(list(tensors), dtype=widest)
    return torch.linalg.vector_norm(torch.stack(norms))
