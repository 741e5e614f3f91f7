# Copyright (c) mmhkt authors. All rights reserved.
import sys
from contextlib import ExitStack, contextmanager
from typing import Callable, Iterator, Optional, Sequence

import torch.utils.checkpoint

from .tape import Tape


@contextmanager
def watched_checkpoints(tapes: Sequence[Tape]) -> Iterator:
    """Tell tapes what activation checkpointing runs again.

    ``torch.utils.checkpoint.checkpoint``, wherever it was imported to, gets
    tapes as its ``context_fn``; and it is used without ``use_reentrant``, as
    torch advises: the reentrant variant has no graph inside a region, so
    that no gradient could reach a feature there.

    Args:
        tapes (Sequence[Tape]): Of the networks that are trained.
    """
    original = torch.utils.checkpoint.checkpoint

    def checkpoint(function, *args, use_reentrant=None, **kwargs):
        others = kwargs.pop('context_fn', None)

        def contexts():
            pairs = [tape.watch() for tape in tapes]
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

    holders = [
        module for module in list(sys.modules.values())
        if getattr(module, '__dict__', {}).get('checkpoint') is original
    ]
    for module in holders:
        module.checkpoint = checkpoint
    try:
        yield
    finally:
        for module in holders:
            module.checkpoint = original


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
