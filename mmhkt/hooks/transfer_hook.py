# Copyright (c) mmhkt authors. All rights reserved.
from typing import Iterable, List, Set

from mmengine.hooks import Hook

from mmhkt.methods import Method
from mmhkt.registry import HOOKS
from .common import hereditary
from .schedule import Schedule, place


@HOOKS.register_module()
class TransferHook(Hook):
    """The Transfer's life in a run: intensity and loss weights over time.

    Each method brings its schedules, ``method=dict(..., schedule=[...])``,
    each a dict of :class:`mmhkt.hooks.Schedule`. What is in force depends on
    how much of the training is done, so that a resumed run goes on where it
    stopped, also with another batch size or number of GPUs.
    """

    def before_train(self, runner) -> None:
        """Check all schedules before the first iteration.

        Raises:
            ValueError: If one is impossible.
        """
        inheritance = hereditary(runner)
        self._knobs = Knobs(inheritance.methods if inheritance is not None else
                            ())

    def before_train_iter(self,
                          runner,
                          batch_idx: int,
                          data_batch=None) -> None:
        """Turn the knobs."""
        self._knobs.turn(*place(runner, batch_idx))


class Knobs:
    """The schedules of methods, checked.

    Args:
        methods (Iterable[Method]): With their sites.

    Raises:
        ValueError: If a schedule is impossible.
    """

    def __init__(self, methods: Iterable[Method]):
        self._methods = list(methods)
        self._schedules: List[List[Schedule]] = []
        for method in self._methods:
            name = type(method).__name__
            schedules = [
                Schedule.from_cfg(cfg, method.knobs(), name, method.site_knobs)
                for cfg in method.schedule
            ]
            for schedule in schedules:
                for site in schedule.sites or ():
                    count = len(method.sites)
                    if not -count <= site < count:
                        raise ValueError(
                            f'A schedule of {name} is for site {site}, but '
                            f'there are {count} (from 0 on).')
            self._schedules.append(schedules)

    def units(self) -> Set[str]:
        """In what the schedules count."""
        return {s.unit for schedules in self._schedules for s in schedules}

    def turn(self, iteration: int, max_iters: int,
             iters_per_epoch: int) -> None:
        """Set what is in force in an iteration.

        Args:
            iteration, max_iters, iters_per_epoch (int): See
                :func:`mmhkt.hooks.schedule.place`.
        """
        now = iteration, max_iters, iters_per_epoch
        for method, schedules in zip(self._methods, self._schedules):
            for schedule in schedules:
                factor = schedule.factor(*now)
                if factor is not None:
                    method.turn(schedule.knob, factor, schedule.sites)
