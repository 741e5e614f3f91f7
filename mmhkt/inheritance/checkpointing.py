# Copyright (c) mmhkt authors. All rights reserved.
import sys
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import (Any, Callable, ContextManager, Iterator, List, Optional,
                    Sequence, Tuple)

import torch
import torch.utils.checkpoint
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import get_device_states, set_device_states

from .statistics import RunningStatistics


class Regions:
    """What the taps of a network did in its checkpointed regions.

    Activation checkpointing throws away what lies inside a region, and runs
    it again in the backward pass. The taps then answer as they did the first
    time, and no norm learns twice.

    Args:
        statistics (RunningStatistics): Of the network.
    """

    def __init__(self, statistics: RunningStatistics):
        self.statistics = statistics
        # Of the regions that are being run, the answers of every tap.
        self._running: List[list] = []
        # Those of the region that is being run again.
        self._again: Optional[Iterator] = None

    def contexts(self) -> Tuple[Callable, Callable]:
        """What makes the two contexts of torch's ``checkpoint``: around the
        first run of a region, and around each recomputation of it."""
        region: list = []
        return partial(self._first, region), partial(self._recomputed, region)

    @contextmanager
    def _first(self, region: list) -> Iterator:
        self._running.append(region)
        try:
            yield
        finally:
            self._running.pop()

    @contextmanager
    def _recomputed(self, region: list) -> Iterator:
        before, self._again = self._again, iter(region)
        try:
            with self.statistics.kept():
                yield
        finally:
            self._again = before

    @property
    def recomputing(self) -> bool:
        """Whether a region is being run again."""
        return self._again is not None

    def unseen(self) -> ContextManager:
        """For what is computed once: a checkpoint must not count on it."""
        if not (self._running or self.recomputing):
            return nullcontext()
        return saved_tensors_hooks(_as_it_is, _as_it_is)

    def write_down(self, ran: bool, changed: bool, output: Any) -> None:
        """Note an answer.

        Args:
            ran (bool): Whether the module ran.
            changed (bool): Whether the tap returned something else.
            output: What it returned.
        """
        if self._running:
            self._note(ran, (_copied(output), torch.get_rng_state(),
                             get_device_states(output)) if changed else None)

    def answer_again(self, run: Callable, args: tuple, kwargs: dict) -> Any:
        """What the next tap returns when a region is run again."""
        ran, changed = next(self._again)
        own = run(*args, **kwargs) if ran else None
        self._note(ran, changed)
        if changed is None:
            return own
        output, state, device_states = changed
        torch.set_rng_state(state)
        set_device_states(*device_states)
        with self.unseen():
            return _copied(output)

    def _note(self, ran: bool, changed: Optional[tuple]) -> None:
        for region in self._running:
            region.append((ran, changed))


def _copied(output: Any) -> Any:
    # With its graph; what follows may write to the output itself.
    return tree_map_only(Tensor, torch.clone, output)


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


@contextmanager
def watched_checkpoints(regions: Sequence[Regions]) -> Iterator:
    """Tell of what activation checkpointing runs again.

    ``torch.utils.checkpoint.checkpoint``, wherever it was imported to, gets
    a ``context_fn``; and it is used without ``use_reentrant``, as torch
    advises: the reentrant variant has no graph inside a region, so that no
    gradient could reach a feature there.

    Args:
        regions (Sequence[Regions]): Of the networks that are run.
    """
    original = torch.utils.checkpoint.checkpoint

    def checkpoint(function, *args, use_reentrant=None, **kwargs):
        others = kwargs.pop('context_fn', None)

        def contexts():
            pairs = [one.contexts() for one in regions]
            if others is not None:
                # They are the user's, and made once.
                pairs.append([lambda one=one: one for one in others()])
            return [_Contexts(makers) for makers in zip(*pairs)]

        return original(
            function,
            *args,
            use_reentrant=False,
            context_fn=contexts,
            **kwargs)

    # Under whatever name it was imported.
    holders = [
        (module, name) for module in list(sys.modules.values())
        for name, value in list(getattr(module, '__dict__', {}).items())
        if value is original
    ]
    for module, name in holders:
        setattr(module, name, checkpoint)
    try:
        yield
    finally:
        for module, name in holders:
            setattr(module, name, original)


class _Contexts:
    """Several contexts as one, which can be entered again: a region is
    recomputed in every backward pass through it."""

    def __init__(self, makers: Sequence[Callable]):
        self.makers = makers

    def __enter__(self) -> None:
        self.stack = ExitStack()
        for make in self.makers:
            self.stack.enter_context(make())

    def __exit__(self, *error) -> Optional[bool]:
        return self.stack.__exit__(*error)
