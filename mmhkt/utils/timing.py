# Copyright (c) mmhkt authors. All rights reserved.
import statistics
import time
from typing import Any, Callable, Dict, Iterable, List

import torch


def medians(steps: Dict[str, Callable[[int], Any]], rounds: Iterable[int],
            warmup: int) -> Dict[str, float]:
    """The median seconds of each step; they take turns, so that whatever else
    the machine does meets them all.

    Args:
        steps (dict[str, Callable]): Name -> step, given the round's number.
        rounds (Iterable[int]): Their numbers, from 0 on.
        warmup (int): How many rounds at first do not count.
    """
    seconds: Dict[str, List[float]] = {name: [] for name in steps}
    for i in rounds:
        for name, step in steps.items():
            start = clock()
            step(i)
            if i >= warmup:
                seconds[name].append(clock() - start)
    return {name: statistics.median(s) for name, s in seconds.items()}


def clock() -> float:
    """Seconds, when the GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
