# Copyright (c) mmhkt authors. All rights reserved.
import signal
import threading
from contextlib import contextmanager
from typing import Callable, Iterator

# What ends a process from outside: a cluster, a closed terminal.
ENDING = signal.SIGTERM, signal.SIGHUP


@contextmanager
def answered(answer: Callable) -> Iterator:
    """Within this, do something when the process is told to end.

    A signal that is ignored, as nohup leaves SIGHUP, stays so.

    Args:
        answer (Callable): Gets the number of the signal and the frame that
            runs; what it raises is raised there.
    """
    with _handled(
        {n: answer
         for n in ENDING if signal.getsignal(n) != signal.SIG_IGN}):
        yield


@contextmanager
def unheard() -> Iterator:
    """Within this the process is not told to end, nor interrupted: for what
    has to be put away first."""
    with _handled(dict.fromkeys((*ENDING, signal.SIGINT), signal.SIG_IGN)):
        yield


@contextmanager
def _handled(handlers: dict) -> Iterator:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main one hears of signals
        return
    before = {n: signal.signal(n, handler) for n, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None where it was not set from Python.
            signal.signal(number,
                          signal.SIG_DFL if handler is None else handler)
