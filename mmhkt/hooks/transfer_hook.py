# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Optional

from mmengine.hooks import Hook

from mmhkt.models import HereditaryModel
from mmhkt.registry import HOOKS
from .common import hereditary
from .schedule import Schedule


@HOOKS.register_module()
class TransferHook(Hook):
    """The Transfer's life in a run: intensity and loss weights over time.

    Each method brings its schedules, ``method=dict(..., schedule=[...])``,
    each a dict of :class:`mmhkt.hooks.Schedule`. What is in force depends on
    the iteration alone, so that a resumed run goes on where it stopped.
    """

    def before_train(self, runner) -> None:
        """Check all schedules before the first iteration.

        Raises:
            ValueError: If one is impossible.
        """
        model = hereditary(runner)
        self._model: Optional[HereditaryModel] = model
        self._schedules: List[List[Schedule]] = []
        for method in model.methods if model else ():
            name = type(method).__name__
            schedules = [
                Schedule.from_cfg(cfg, method.knobs(), name)
                for cfg in method.schedule
            ]
            for schedule in schedules:
                for site in schedule.sites or ():
                    if not 0 <= site < len(method.sites):
                        raise ValueError(
                            f'A schedule of {name} is for site {site}, but '
                            f'there are {len(method.sites)} (from 0 on).')
            self._schedules.append(schedules)

    def before_train_iter(self,
                          runner,
                          batch_idx: int,
                          data_batch=None) -> None:
        """Turn the knobs."""
        if self._model is None:
            return
        loader = runner.train_dataloader
        epoch = len(loader) if runner.train_loop.max_epochs > 0 else 1
        for method, schedules in zip(self._model.methods, self._schedules):
            for schedule in schedules:
                factor = schedule.factor(runner.iter, runner.max_iters, epoch)
                if factor is not None:
                    method.turn(schedule.knob, factor, schedule.sites)
