# Copyright (c) mmhkt authors. All rights reserved.
"""mmengine's training loops for a child that inherits.

A step is one of the child together with its parent and methods
(:class:`mmhkt.models.Inheritance`); everything else is done to the plain
child, as mmengine does it.
"""
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmhkt.registry import LOOPS


class _Inherits:
    """Runs with taps on the child, and makes the steps."""

    def run(self) -> Any:
        """Launch training."""
        with self.runner.inheritance.tapped():
            return super().run()

    def _step(self, number: int, batch: Any) -> None:
        runner = self.runner
        runner.call_hook(
            'before_train_iter', batch_idx=number, data_batch=batch)
        outputs = runner.trained.train_step(
            batch, optim_wrapper=runner.optim_wrapper)
        runner.call_hook(
            'after_train_iter',
            batch_idx=number,
            data_batch=batch,
            outputs=outputs)
        self._iter += 1


@LOOPS.register_module()
class InheritanceEpochLoop(_Inherits, EpochBasedTrainLoop):
    """:class:`mmengine.runner.EpochBasedTrainLoop` with inheritance."""

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """One step."""
        self._step(idx, data_batch)


@LOOPS.register_module()
class InheritanceIterLoop(_Inherits, IterBasedTrainLoop):
    """:class:`mmengine.runner.IterBasedTrainLoop` with inheritance."""

    def run_iter(self, data_batch: Any) -> None:
        """One step."""
        self._step(self._iter, data_batch)
