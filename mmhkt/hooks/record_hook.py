# Copyright (c) mmhkt authors. All rights reserved.
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop

from mmhkt.evaluation import IMAGES, image_scores
from mmhkt.registry import HOOKS
from mmhkt.utils.checkpoint import not_finite
from mmhkt.utils.files import json_text, read_json, write_text
from mmhkt.utils.hashing import hash_of_batch, hash_of_weights, unwrapped
from .common import hereditary
from .setup import setup_of

# How often the file is written at most, in seconds: it grows with each epoch.
INTERVAL = 5


@HOOKS.register_module()
class RecordHook(Hook):
    """What a run began from, saw, reached and cost, in ``record.json``.

    Two runs are a fair comparison if they began from the same weights
    (``initial_weights``), had the same parent (``parent_weights``) and saw
    the same batches (``batches``: after which iteration -> hash of all
    batches up to there). These hashes, and the scores of every validation,
    are those of the whole run, however often it was interrupted and resumed;
    a validation that an interruption left out is made up for. ``training``
    has the curves of :class:`MixtureHook`. ``setup`` says what was trained
    how and on what machine.

    What each image contributed to the scores of the last validation lies
    beside it, in ``images.npz`` (see :class:`mmhkt.evaluation.ImageScores`).
    """

    # Where it says "finished", all other hooks have written what they write.
    priority = 'LOWEST'

    def __init__(self):
        self._path: Optional[Path] = None  # until training begins

    def before_train(self, runner) -> None:
        """Note the initial weights, or what was noted before resuming."""
        self._path = Path(runner.work_dir, 'record.json')
        self._finished, self._finite = False, True
        self._written = time.monotonic()
        self._setup = setup_of(runner)
        self._diverged: Optional[str] = None
        new = dict(
            initial_weights=None,
            parent_weights=None,
            batches={},
            validations={},
            chain='',
            peak_memory=0)
        if runner.iter == 0:
            new['initial_weights'] = hash_of_weights(runner.model)
            parent = getattr(hereditary(runner), 'parent', None)
            if parent is not None and not parent.random_weights:
                new['parent_weights'] = hash_of_weights(parent.network)
            self._seen = new
        else:
            self._seen = {**new, **runner.message_hub.get_info('record', {})}
        # There it is saved, and resumed, with the checkpoint.
        runner.message_hub.update_info('record', self._seen)
        # Of the hooks after an iteration, the LoggerHook comes first and
        # resets the peak; the optimiser's step comes before them all.
        for optimizer in _optimizers(runner.optim_wrapper):
            optimizer.register_step_post_hook(self._note_peak_memory)
        if runner.iter > 0:
            self._catch_up(runner)
        self._write(runner, runner.iter)

    def before_train_iter(self,
                          runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        """Hash the batch together with all before it."""
        self._seen['chain'] = hash_of_batch(data_batch, self._seen['chain'])
        done = runner.iter + 1
        if (done % len(runner.train_dataloader) == 0
                or done == runner.max_iters):
            self._seen['batches'][str(done)] = self._seen['chain']

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        """Write now and then, for whoever watches."""
        self._write_at_times(runner, runner.iter + 1)

    def after_val_iter(self,
                       runner,
                       batch_idx: int,
                       data_batch: Any = None,
                       outputs: Any = None) -> None:
        """Keep what the images contributed, while the metrics have it."""
        if self._path is None or batch_idx + 1 < len(runner.val_dataloader):
            return
        scores = image_scores(runner.val_evaluator.metrics,
                              len(runner.val_dataloader.dataset),
                              _step(runner))
        if scores is not None:
            scores.save(self._path.with_name(IMAGES))

    def after_val_epoch(self,
                        runner,
                        metrics: Optional[Dict[str, float]] = None) -> None:
        """Note the scores."""
        if self._path is None:  # a validation without training
            return
        scalars = runner.message_hub.log_scalars
        self._seen['validations'][str(_step(runner))] = {
            name: float(scalars[f'val/{name}'].current())
            for name in metrics or () if f'val/{name}' in scalars
        }
        self._write_at_times(runner, runner.iter)

    def after_train(self, runner) -> None:
        """Note that the run is complete, and whether its weights can be
        used."""
        child = unwrapped(runner.model)
        self._finite = not not_finite(child, child.state_dict())
        self._finished = True
        self._write(runner, runner.iter)

    def on_divergence(self, runner, error: Exception) -> None:
        """Note why the run was stopped."""
        self._diverged = str(error)
        self._write(runner, runner.iter)

    def _catch_up(self, runner) -> None:
        loop, done = runner.train_loop, _step(runner)
        validations = self._seen['validations']
        if self._path.is_file():
            validations.update((step, scores)
                               for step, scores in read_json(self._path).get(
                                   'validations', {}).items()
                               if int(step) <= done)
        if runner.val_loop is None or str(done) in validations:
            return
        # A checkpoint is written before the validation that belongs to it: a
        # run that was killed in between would never have that score.
        end = loop.max_iters if _by_iter(loop) else loop.max_epochs
        loop._decide_current_val_interval()
        if done >= loop.val_begin and (done % loop.val_interval == 0
                                       or done == end):
            runner.val_loop.run()

    def _note_peak_memory(self, *_) -> None:
        self._seen['peak_memory'] = max(self._seen['peak_memory'],
                                        peak_memory())

    def _write_at_times(self, runner, done: int) -> None:
        if time.monotonic() - self._written > INTERVAL:
            self._write(runner, done)

    @master_only
    def _write(self, runner, done: int) -> None:
        self._written = time.monotonic()
        ours = hereditary(runner)
        extra = ours.transfer_parameters() if ours is not None else ()
        self._note_peak_memory()
        record = dict(
            finished=self._finished,
            finite=self._finite,
            diverged=self._diverged,
            skipped=runner.message_hub.runtime_info.get('skipped',
                                                        {}).get('skipped', 0),
            initial_weights=self._seen['initial_weights'],
            parent_weights=self._seen['parent_weights'],
            batches=self._seen['batches'],
            validations=self._seen['validations'],
            training=runner.message_hub.runtime_info.get('training', {}),
            parent_scores=runner.message_hub.runtime_info.get('parent_scores'),
            unit='iter' if _by_iter(runner.train_loop) else 'epoch',
            iter=done,
            max_iters=runner.max_iters,
            step=_step_time(runner, np.median),
            mean_step=_step_time(runner, np.mean),
            peak_memory=self._seen['peak_memory'],
            parameters=_count(unwrapped(runner.model).parameters()),
            extra_parameters=_count(extra),
            setup=self._setup)
        write_text(self._path, json_text(record, lines=2) + '\n')


def _by_iter(loop) -> bool:
    return isinstance(loop, IterBasedTrainLoop)


def _step(runner) -> int:
    return runner.iter if _by_iter(runner.train_loop) else runner.epoch


def _optimizers(wrapper) -> list:
    several = isinstance(wrapper, OptimWrapperDict)
    return [w.optimizer for w in (wrapper.values() if several else [wrapper])]


def _count(parameters) -> int:
    return sum(p.numel() for p in parameters)


def _step_time(runner, average: Callable) -> Optional[float]:
    history = runner.message_hub.log_scalars.get('train/time')
    # The first steps are slower: memory is allocated, kernels are chosen.
    times = [] if history is None else history.data[0][10:]
    return float(average(times)) if len(times) else None


def peak_memory() -> int:
    """In bytes; without a GPU, the most that the process has held."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
