# Copyright (c) mmhkt authors. All rights reserved.
import pytest
from method_helpers import stages_model

from mmhkt.methods import HKT, KD, Alone, LePoKet
from mmhkt.runner.phases import Phases


def phases_of(*methods, length=100, iterations=100):
    stages_model(*methods)
    return Phases(methods, length, iterations, 100)


def test_a_method_that_never_changes_has_one():
    for method in (Alone(), KD()):
        phases = phases_of(method)
        assert len(phases.steps(print)) == 1
        assert phases.mean([2.], 100) == pytest.approx(2)
        totals = dict(map(tuple, phases.totals([2.])))
        assert totals[1] == pytest.approx(200)
        assert totals[100] == pytest.approx(20000)
        assert max(totals) == 1000


def test_hints_and_mixture_are_a_part_of_a_long_training():
    """10,000 iterations: 3,000 of both. 100: 70 of both, 30 of hints."""
    phases = phases_of(HKT())
    seen = []

    def step(i):
        method = phases._methods[0]
        seen.append((method.mixes(), method.weight('hint') > 0, i))

    for number, one in phases.steps(step).items():
        one(number)
    # As they are met, from the shortest training on.
    assert seen == [(True, True, 0), (False, True, 1), (False, False, 2)]
    assert phases.mean([1., 0., 0.], 100) == pytest.approx(0.3)
    assert phases.mean([0., 0., 1.], 100) == pytest.approx(0.7)
    assert phases.mean([1., 0., 0.], 1) == pytest.approx(0.7, abs=0.01)
    assert phases.mean([0., 1., 0.], 1) == pytest.approx(0.3, abs=0.01)
    # What it all comes to.
    totals = dict(map(tuple, phases.totals([3., 2., 1.])))
    assert totals[100] == pytest.approx(10000 * (0.3 * 3 + 0.7))


def test_schedules_in_epochs_are_scaled():
    method = LePoKet(
        schedule=[dict(knob='intensity', unit='epoch', begin=0, end=50)])
    phases = phases_of(method)
    for length in (10, 100, 1000):
        length = min(phases._shares, key=lambda one: abs(one - length))
        assert phases.mean([1., 0.], length) == pytest.approx(0.5, abs=0.01)
    assert method.schedule[0]['end'] != 50  # as it was turned last
