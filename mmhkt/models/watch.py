# Copyright (c) mmhkt authors. All rights reserved.
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Sequence

import torch
from mmengine.dist import all_reduce, is_distributed
from torch import Tensor
from torch.optim import Optimizer


class Diverged(RuntimeError):
    """A training that would end with a child that is not finite."""


@dataclass
class Noted:
    """What a step was seen to be made of.

    Attributes:
        iteration (int): Its number, from 1 on.
        names (Sequence[str]): Of what was looked at.
        finite (Tensor): Of each, whether it was finite, (N, ).
        skipped (Tensor | bool): Whether the weights were left as they were.
        ends (bool): Whether the optimiser was to step, which with
            accumulated gradients it does not do each time.
    """
    iteration: int
    names: Sequence[str]
    finite: Tensor
    skipped: Any = False
    ends: bool = False


@dataclass
class Step:
    """A step of the optimiser.

    Attributes:
        iteration (int): Its number, from 1 on.
        skipped (bool): Whether it was skipped.
        names (list[str]): What was not finite in it, in the order in which
            it was computed.
    """
    iteration: int
    skipped: bool
    names: List[str]


class Watch:
    """Keeps what is not finite from the weights, and notes where it was.

    A step whose loss or gradient is not finite leaves the weights and the
    optimiser's state as they were. On an accelerator both is decided there:
    the host does not wait for it, and hears of it when it asks, :meth:`look`.
    (Adam counts its steps on the host, skipped ones too.) What a gradient
    scaler skips is noted as well.
    """

    def __init__(self):
        self.iteration = 0
        # Whether anybody will look.
        self.on = False
        self._noted: List[Noted] = []
        # Of all that the next step of the optimiser is made of.
        self._losses: List[Tensor] = []
        self._stepped = False
        self._before: list = []

    def guard(self, optimizer: Optimizer) -> None:
        """Skip an optimiser's steps where they are not finite."""
        self.on = True
        optimizer.register_step_pre_hook(self._before_step)
        optimizer.register_step_post_hook(self._after_step)

    def note(self, values: Dict[str, Tensor], loss: Tensor) -> None:
        """Note whether the parts of a step are finite.

        Args:
            values (dict[str, Tensor]): Name -> scalar, in the order in which
                they were computed.
            loss (Tensor): The sum that is minimised.
        """
        self.iteration += 1
        finite = torch.stack([v.detach().float()
                              for v in values.values()]).isfinite()
        self._noted.append(Noted(self.iteration, tuple(values), finite))
        self._losses.append(loss.detach().isfinite())

    def end_step(self, updates: bool) -> None:
        """Note what only the host knows.

        Args:
            updates (bool): Whether the optimiser was to step; if it did not,
                a gradient scaler has kept it from it.
        """
        if not updates or not self._noted:
            return
        self._noted[-1].ends = True
        if not self._stepped:
            self._noted[-1].skipped = True
        self._stepped = False
        self._losses.clear()

    def look(self) -> List[Step]:
        """The optimiser's steps since the last look; the host waits for what
        is not done yet."""
        noted, self._noted = self._noted, []
        if not noted:
            return []
        device = noted[0].finite.device
        flags = iter(
            torch.cat([
                part for step in noted for part in (
                    step.finite,
                    torch.as_tensor(step.skipped, device=device).view(1))
            ]).tolist())
        steps, names = [], {}
        for step in noted:
            finite = [next(flags) for _ in step.names]
            names.update((name, None)
                         for name, fine in zip(step.names, finite) if not fine)
            skipped = next(flags)
            if step.ends:
                steps.append(Step(step.iteration, skipped, list(names)))
                names = {}
        return steps

    @torch.no_grad()
    def _before_step(self, optimizer: Optimizer, *_) -> None:
        self._stepped = True
        parameters = [
            p for group in optimizer.param_groups for p in group['params']
            if p.grad is not None
        ]
        if not parameters:
            return
        norms = torch._foreach_norm([p.grad for p in parameters], float('inf'))
        finite = torch.stack(norms).isfinite().all()
        for loss in self._losses:
            finite = finite & loss
        if is_distributed():  # all processes do the same
            finite = finite.float()
            all_reduce(finite, 'min')
            finite = finite.bool()
        if self._noted:
            self._noted[-1].skipped = ~finite
        if self.reads(finite):
            if not finite:
                for p in parameters:
                    p.grad = None
            return
        written = _written(optimizer, parameters, finite.device)
        self._before = [finite, written, _joined(written.values())]

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, *_) -> None:
        if not self._before:
            return
        finite, written, before = self._before
        self._before = []
        for dtype, new in _joined(written.values()).items():
            tensors = [
                _as_stored(t) for t in written.values() if t.dtype == dtype
            ]
            # In place: three times all weights would be in memory else.
            kept = torch.where(finite, new, before.pop(dtype), out=new)
            parts = kept.split([t.numel() for t in tensors])
            torch._foreach_copy_(
                tensors, [part.view_as(t) for part, t in zip(parts, tensors)])
        # What this step has made begins at zero.
        parameters = [
            p for group in optimizer.param_groups for p in group['params']
        ]
        for key, tensor in _written(optimizer, parameters,
                                    finite.device).items():
            if key not in written:
                tensor.copy_(torch.where(finite, tensor, 0))

    @staticmethod
    def reads(flag: Tensor) -> bool:
        """Whether the host has a value without waiting for it."""
        return flag.device.type == 'cpu'


def _joined(tensors: Iterable[Tensor]) -> Dict[torch.dtype, Tensor]:
    """All values in one row a dtype: a GPU does little with each launch
    else."""
    rows: Dict[torch.dtype, list] = {}
    for tensor in tensors:
        rows.setdefault(tensor.dtype,
                        []).append(_as_stored(tensor).reshape(-1))
    return {dtype: torch.cat(parts) for dtype, parts in rows.items()}


def _as_stored(tensor: Tensor) -> Tensor:
    """Its dimensions in the order of memory (channels may come last), so
    that making a row of it copies nothing."""
    return tensor.permute(
        sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def _written(optimizer: Optimizer, parameters: List[Tensor],
             device: torch.device) -> Dict[tuple, Tensor]:
    """The weights and the optimiser's state that are on a device."""
    tensors = {}
    for p in parameters:
        tensors[id(p), ''] = p
        for name, value in optimizer.state.get(p, {}).items():
            if torch.is_tensor(value) and value.device == device:
                tensors[id(p), name] = value
    return tensors
