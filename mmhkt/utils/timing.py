# Copyright (c) mmhkt authors. All rights reserved.
import statistics
import time
from typing import Any, Callable, Dict, Iterable, List, Tuple

import torch


def in_turn(steps: Dict[str, Callable[[int], Any]], rounds: Iterable[int],
            warmup: int) -> Dict[str, List[float]]:
    """The seconds of each step; they take turns, so that whatever else the
    machine does meets them all.

    Args:
        steps (dict[str, Callable]): Name -> step, given the round's number.
        rounds (Iterable[int]): Their numbers, from 0 on.
        warmup (int): How many rounds at first do not count.

    Returns:
        dict[str, list[float]]: Of each step, one a round that counts.
    """
    seconds: Dict[str, List[float]] = {name: [] for name in steps}
    for i in rounds:
        for name, step in steps.items():
            start = clock()
            step(i)
            if i >= warmup:
                seconds[name].append(clock() - start)
    return seconds


def medians(steps: Dict[str, Callable[[int], Any]], rounds: Iterable[int],
            warmup: int) -> Dict[str, float]:
    """The median seconds of each step, see :func:`in_turn`."""
    return {
        name: statistics.median(seconds)
        for name, seconds in in_turn(steps, rounds, warmup).items()
    }


def middle_half(seconds: List[float]) -> Tuple[float, float]:
    """The first and the third quartile."""
    if len(seconds) < 2:
        return seconds[0], seconds[0]
    first, _, third = statistics.quantiles(seconds, method='inclusive')
    return first, third


def clock() -> float:
    """Seconds, when the GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
