# Copyright (c) mmhkt authors. All rights reserved.
from typing import Iterable, Set, Tuple

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from mmhkt.methods import Method
from mmhkt.registry import HOOKS
from .common import hereditary


@HOOKS.register_module()
class TransferHook(Hook):
    """The Transfer's life in a run: intensity and loss weights over time.

    Each method brings its schedules, ``method=dict(..., schedule=[...])``,
    each a dict of :class:`mmhkt.methods.Schedule`. What is in force depends on
    how much of the training is done, so that a resumed run goes on where it
    stopped, also with another batch size or number of GPUs.
    """

    def before_train(self, runner) -> None:
        """Check before the first iteration that all sites are there.

        Raises:
            ValueError: If a schedule is for one that is not.
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
    """The knobs of methods, as their schedules turn them.

    Args:
        methods (Iterable[Method]): With their sites.

    Raises:
        ValueError: If a schedule is for a site that is not there.
    """

    def __init__(self, methods: Iterable[Method]):
        self._methods = list(methods)
        for method in self._methods:
            count = len(method.sites)
            for schedule in method.schedules:
                for site in schedule.sites or ():
                    if not -count <= site < count:
                        raise ValueError(
                            f'A schedule of {type(method).__name__} is for '
                            f'site {site}, but there are {count} (from 0 on).')

    def units(self) -> Set[str]:
        """In what the schedules count."""
        return {s.unit for method in self._methods for s in method.schedules}

    def need_length(self) -> bool:
        """Whether it makes a difference how long the training is."""
        return any(s.unit == 'run' or s.least_iters > 0 or (
            s.end is None and s.rule != 'constant') for method in self._methods
                   for s in method.schedules)

    def turn(self, iteration: int, max_iters: int,
             iters_per_epoch: int) -> None:
        """Set what is in force in an iteration.

        Args:
            iteration, max_iters, iters_per_epoch (int): See
                :func:`place`.
        """
        now = iteration, max_iters, iters_per_epoch
        for method in self._methods:
            turns = [(s, s.factor(*now)) for s in method.schedules]
            # What begins later is at its start, unless another comes before.
            later = [
                s for s, factor in turns
                if factor is None and s.rule != 'constant'
            ]
            later.sort(key=lambda s: s.begins(*now[1:]), reverse=True)
            for schedule in later:
                method.turn(schedule.knob, schedule.start, schedule.sites)
            for schedule, factor in turns:
                if factor is not None:
                    method.turn(schedule.knob, factor, schedule.sites)


def place(runner, batch_idx: int) -> Tuple[int, int, int]:
    """Where in its training a run is.

    A run by epochs that was resumed with another batch size or number of
    GPUs brings along a count of other iterations. Its place is therefore
    counted from the epoch, as if all epochs were as long as this one.

    Args:
        runner (Runner): The runner, while it trains.
        batch_idx (int): As a hook is given it.

    Returns:
        tuple[int]: The iteration, how many there are in all, and in an epoch.
    """
    loop, length = runner.train_loop, len(runner.train_dataloader)
    if isinstance(loop, IterBasedTrainLoop):
        return loop.iter, loop.max_iters, length
    return loop.epoch * length + batch_idx, loop.max_epochs * length, length
