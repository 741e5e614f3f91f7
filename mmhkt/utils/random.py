# Copyright (c) mmhkt authors. All rights reserved.
import random
from contextlib import contextmanager
from typing import Iterator

import numpy as np
import torch


def seed_cpu(*key: int) -> None:
    """Seed Python, NumPy and torch's CPU generator from several integers.

    Args:
        *key (int): Non-negative, for instance seed, epoch and number.
            Different keys give independent streams.
    """
    # Its length is part of the key, since trailing zeros would not count.
    words = np.random.SeedSequence((len(key), *key)).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    # torch.manual_seed visits every backend, which costs more than the
    # augmentation of a small image does.
    torch.default_generator.manual_seed(int(words[2]))


def seed_everything(*key: int) -> None:
    """As :func:`seed_cpu`, and the generators of all GPUs."""
    seed_cpu(*key)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(torch.initial_seed())


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
