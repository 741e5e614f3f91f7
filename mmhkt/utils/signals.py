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
    before = {
        number: signal.signal(number, answer)
        for number in ENDING if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def unheard() -> Iterator:
    """Within this the process is not told to end, nor interrupted: for what
    has to be put away first."""
    if threading.current_thread() is not threading.main_thread():
        yield  # which hears of no signal
        return
    before = {
        number: signal.signal(number, signal.SIG_IGN)
        for number in (*ENDING, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
