# Copyright (c) mmhkt authors. All rights reserved.
import random

import numpy as np
import pytest
import torch

from mmhkt.utils import private_randomness, seed_cpu, seed_everything


def draws():
    """One number of each common generator."""
    return random.random(), np.random.rand(), torch.rand(1).item()


@pytest.fixture(autouse=True)
def common_generators():
    """As they were, for other tests."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


@pytest.mark.parametrize('seed', [seed_cpu, seed_everything])
def test_a_key_gives_one_stream(seed):
    seed(3, 1, 4)
    first = draws()
    assert all(a != b for a, b in zip(first, draws()))
    draws()
    seed(3, 1, 4)
    assert draws() == first


def test_both_seed_alike():
    seed_cpu(7, 1)
    first = draws()
    seed_everything(7, 1)
    assert draws() == first


def test_keys_give_different_streams():
    keys = [(seed, epoch, rank, number) for seed in (0, 1, 2**31 - 1)
            for epoch in (0, 1) for rank in (0, 1) for number in (0, 1, 2)]
    seen = []
    for key in keys:
        seed_cpu(*key)
        seen.append(draws())
    for numbers in zip(*seen):
        assert len(set(numbers)) == len(keys)


def test_the_order_of_a_key_matters():
    seed_cpu(1, 2)
    first = draws()
    seed_cpu(2, 1)
    assert all(a != b for a, b in zip(draws(), first))


def test_the_three_generators_do_not_share_a_seed():
    seed_cpu(5)
    words = np.random.get_state()[1][0], torch.initial_seed()
    assert words[0] != words[1]


def test_negative_keys():
    with pytest.raises(ValueError):
        seed_cpu(-1)


def test_private_randomness():
    seed_cpu(1)
    expected = draws(), draws()
    seed_cpu(1)
    assert draws() == expected[0]
    with private_randomness(5, 1):
        private = draws()
        torch.rand(100), np.random.rand(100)
    assert draws() == expected[1]
    assert private not in expected
    with private_randomness(5, 1):
        assert draws() == private
    with private_randomness(5, 2):
        assert draws() != private


def test_private_randomness_after_an_error():
    seed_cpu(1)
    expected = draws()
    seed_cpu(1)
    with pytest.raises(KeyError):
        with private_randomness(5):
            draws()
            raise KeyError
    assert draws() == expected


def test_private_randomness_in_private_randomness():
    with private_randomness(1):
        first, second = draws(), draws()
    with private_randomness(1):
        assert draws() == first
        with private_randomness(2):
            draws()
        assert draws() == second
