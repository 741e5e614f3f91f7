# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, List, Optional

from mmengine.hooks import Hook, LoggerHook

from mmhkt.models.watch import Diverged, Step
from mmhkt.registry import HOOKS
from mmhkt.utils.checkpoint import not_finite
from mmhkt.utils.settings import Count
from .common import hereditary


@HOOKS.register_module()
class DivergenceHook(Hook):
    """One bad batch is survived, counted and named; a run that has become NaN
    never counts as finished.

    A step whose loss or gradient is not finite is skipped, see
    :class:`mmhkt.models.watch.Watch`. At the interval at which losses are
    logged, skipped steps are counted, and it is said what was not finite in
    them: the images, a feature of parent or child, a loss term. After too many
    in a row the run is stopped. So it is if the child's weights are not finite
    at the end, before anything is exported.

    Args:
        patience (int): How many steps in a row may be skipped; if all steps
            of a shorter run are, it is stopped too. Defaults to 50.
        interval (int, optional): How often is looked, in iterations. Defaults
            to None, that of the LoggerHook, and ``patience`` at most.
    """

    # Before those that write something down.
    priority = 'VERY_HIGH'

    def __init__(self, patience: Count = 50, interval: Optional[Count] = None):
        self.patience = patience
        self.interval = interval

    def before_train(self, runner) -> None:
        """Begin to watch."""
        ours = hereditary(runner)
        self._watch = ours.watch if ours is not None else None
        if self._watch is None:
            return
        self._watch.guard(runner.optim_wrapper.optimizer)
        self._watch.iteration = runner.iter
        self._last: Optional[Step] = None
        logging = [
            h.interval for h in runner.hooks if isinstance(h, LoggerHook)
        ]
        self._every = min(
            [self.interval or min(logging, default=10), self.patience])
        # There it is saved, and resumed, with the checkpoint.
        self._counts = {
            # Of the optimiser, of which several iterations may be one.
            'steps': 0,
            'skipped': 0,
            'in_a_row': 0,
            **runner.message_hub.runtime_info.get('skipped', {})
        }
        runner.message_hub.update_info('skipped', self._counts)

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        """Count and name what was skipped, now and then."""
        if self._watch is None:
            return
        self._watch.end_step(runner.optim_wrapper.should_update())
        if self.every_n_train_iters(runner, self._every):
            self._look(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Count up to here."""
        if getattr(self, '_watch', None) is not None:
            self._look(runner)

    def after_train(self, runner) -> None:
        """Look at what has come out.

        Raises:
            Diverged: If it is no child that could be used.
        """
        if self._watch is None:
            return
        self._look(runner)
        in_a_row = self._counts['in_a_row']
        if 0 < min(self.patience, self._counts['steps']) <= in_a_row:
            self._stop()
        bad = not_finite(runner.model, runner.model.state_dict())
        if bad:
            raise Diverged(
                f'the training diverged: {len(bad)} weights of the child are '
                f'not finite, {", ".join(bad[:4])} among them. {ADVICE}')

    def _look(self, runner) -> None:
        skipped: List[Step] = []
        for step in self._watch.look():
            self._counts['steps'] += 1
            self._counts['in_a_row'] += 1
            if not step.skipped:
                self._counts['in_a_row'] = 0
                continue
            skipped.append(step)
            self._counts['skipped'] += 1
            self._last = step
        if skipped:
            first, count = skipped[0], self._counts['skipped']
            more = f', and {len(skipped) - 1} more' if skipped[1:] else ''
            runner.logger.warning(
                f'Skipped the step of iteration {first.iteration}{more}: not '
                f'finite {_are(first)} ({count} of {self._watch.iteration} '
                'iterations so far).')
        if self._counts['in_a_row'] >= self.patience:
            self._stop()

    def _stop(self) -> None:
        raise Diverged(
            f'the training diverged: {self._counts["in_a_row"]} steps in a '
            f'row, up to iteration {self._watch.iteration}, were skipped; not '
            f'finite {_are(self._last)}. {ADVICE}')


ADVICE = ('Is the learning rate too high, is the data whole? '
          '(default_hooks.divergence.patience is how many are borne.)')


def _are(step: Optional[Step]) -> str:
    # What comes first has made the rest.
    names = step.names if step is not None else []
    names = names or ['the gradient']
    verb = 'are' if names[0].endswith('s') or len(names) > 1 else 'is'
    more = f', and what follows: {", ".join(names[1:4])}' if names[1:] else ''
    more += ', ...' if names[4:] else ''
    return f'{verb} {names[0]}{more}'
