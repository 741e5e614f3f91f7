# Copyright (c) mmhkt authors. All rights reserved.
import sys
from contextlib import ExitStack, contextmanager
from typing import Iterator, Sequence

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
                pairs.append(others())
            first, again = zip(*pairs)
            return _all(first), _all(again)

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


@contextmanager
def _all(contexts: Sequence) -> Iterator:
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield
