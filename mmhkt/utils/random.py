# Copyright (c) mmhkt authors. All rights reserved.
import random
from contextlib import contextmanager
from typing import Iterator

import numpy as np
import torch


def seed_everything(*key: int) -> None:
    """Seed Python, NumPy and torch (all devices) from a tuple of integers.

    Args:
        *key (int): Non-negative, for instance seed, rank and iteration.
            Different tuples give independent streams.
    """
    words = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.manual_seed(int(words[2]))


@contextmanager
def private_randomness(*key: int) -> Iterator:
    """Draw from streams of one's own and leave the common ones as they were.

    Args:
        *key (int): As in :func:`seed_everything`.
    """
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        seed_everything(*key)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
