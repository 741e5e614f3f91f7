# Copyright (c) mmhkt authors. All rights reserved.
"""How long a whole training takes whose steps are not all alike."""
from collections import Counter
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np

from mmhkt.comparison.budgets import scaled_schedule
from mmhkt.hooks.transfer_hook import Knobs
from mmhkt.methods import Method, Schedule

# At so many places of a training it is looked what its steps do.
PLACES = 200
# A length of training, an iteration, and the schedules of each method.
Place = Tuple[int, int, List[List[Schedule]]]
# Of so many lengths, up to so many times as long as the config's.
LENGTHS, LONGEST = 80, 10


class Phases:
    """The phases of a training in which a step does the same: while there is
    a mixture, while there are hints, and when the child is on its own.

    Args:
        methods (Sequence[Method]): Connected.
        length (int): Of the config's training, in epochs or iterations.
        iterations (int): In one of these.
        iters_per_epoch (int): Iterations in an epoch.
    """

    def __init__(self, methods: Sequence[Method], length: int, iterations: int,
                 iters_per_epoch: int):
        self._methods = methods
        self.iterations = iterations
        self._per_epoch = iters_per_epoch
        self._knobs = Knobs(methods)
        schedules = [list(method.schedule) for method in methods]
        lengths = np.geomspace(1, LONGEST * length, LENGTHS).round()
        self.length = length
        # Of each length, how much of it is in which phase; and where a phase
        # is met first.
        self._shares: Dict[int, Counter] = {}
        self._places: Dict[tuple, Place] = {}
        for one in sorted({length, *map(int, lengths)}):
            self._shares[one] = Counter()
            for method, schedule in zip(methods, schedules):
                method.set_schedule(scaled_schedule(schedule, one / length))
            built = [method.schedules for method in methods]
            for i in range(PLACES):
                place = one, i * one * iterations // PLACES, built
                phase = self._turn(place)
                self._places.setdefault(phase, place)
                self._shares[one][phase] += 1 / PLACES

    def steps(self, step: Callable[[int], None]) -> Dict[int, Callable]:
        """A step in each of the phases, by number."""

        def in_phase(place: Place) -> Callable[[int], None]:

            def run(i: int) -> None:
                self._turn(place)
                step(i)

            return run

        return {
            number: in_phase(place)
            for number, place in enumerate(self._places.values())
        }

    def mean(self, seconds: Sequence[float], length: int) -> float:
        """Seconds of a step, over a training of that length.

        Args:
            seconds (Sequence[float]): Of a step, phase by phase.
            length (int): One of those that there are.
        """
        shares = self._shares[length]
        return sum(shares[phase] * second
                   for phase, second in zip(self._places, seconds))

    def totals(self, seconds: Sequence[float]) -> list:
        """Lengths, and the seconds that trainings of them take."""
        return [[
            length,
            self.mean(seconds, length) * length * self.iterations
        ] for length in self._shares]

    def _turn(self, place: Place) -> tuple:
        length, iteration, schedules = place
        for method, built in zip(self._methods, schedules):
            method.schedules = built
        self._knobs.turn(iteration, length * self.iterations, self._per_epoch)
        return tuple(method.work() for method in self._methods)
