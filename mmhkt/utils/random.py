# Copyright (c) mmhkt authors. All rights reserved.
import random
from typing import Sequence

import numpy as np
import torch


def seed_cpu(*key: int) -> None:
    """Seed Python, NumPy and torch's CPU generator from several integers.

    Args:
        *key (int): Non-negative, for instance seed, epoch and number.
            Different keys give independent streams.
    """
    words = _words(key)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    # torch.manual_seed visits every backend, which costs more than the
    # augmentation of a small image does.
    torch.default_generator.manual_seed(int(words[2]))


def generator_of(*key: int) -> torch.Generator:
    """A generator on the CPU, seeded as by :func:`seed_cpu`."""
    return torch.Generator().manual_seed(int(_words(key)[2]))


def _words(key: Sequence[int]) -> np.ndarray:
    # Its length is part of the key, since trailing zeros would not count.
    return np.random.SeedSequence((len(key), *key)).generate_state(3)


def seed_everything(*key: int) -> None:
    """As :func:`seed_cpu`, and the generators of all GPUs."""
    seed_cpu(*key)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(torch.initial_seed())


class Randomness:
    """Streams of one's own; the common ones are left as they were.

    A context, within which everything draws from the own streams. Entered
    again, they go on where they were.

    Args:
        *key (int): As in :func:`seed_everything`.
    """

    def __init__(self, *key: int):
        self._key = key
        self._own = None
        self._common: list = []

    def __enter__(self) -> 'Randomness':
        self._common.append(_states())
        if self._own is None:
            seed_everything(*self._key)
        else:
            _set_states(self._own)
        return self

    def __exit__(self, *_) -> None:
        self._own = _states()
        _set_states(self._common.pop())


def private_randomness(*key: int) -> Randomness:
    """Draw from streams of one's own and leave the common ones as they were.

    Args:
        *key (int): As in :func:`seed_everything`.
    """
    return Randomness(*key)


def _states() -> tuple:
    on_gpu = torch.cuda.is_available()
    return (random.getstate(), np.random.get_state(), torch.get_rng_state(),
            torch.cuda.get_rng_state_all() if on_gpu else None)


def _set_states(states: tuple) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    if states[3] is not None:
        torch.cuda.set_rng_state_all(states[3])
