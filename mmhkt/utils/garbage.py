# Copyright (c) mmhkt authors. All rights reserved.
import gc
from contextlib import contextmanager
from typing import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for cycles that are garbage, as a context or as a
    decorator.

    Where a million objects are made that are all needed, such as the curves
    of two hundred runs, a third of the time would be spent in going through
    them again and again. Objects in no cycle are freed as ever.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
