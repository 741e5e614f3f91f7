# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import torch
from mmengine.hooks import Hook
from rich.console import Console

from mmhkt.models import Parent
from mmhkt.models.pairing import pairing
from mmhkt.registry import HOOKS
from mmhkt.utils import private_randomness
from .common import hereditary


@HOOKS.register_module()
class ExtractionHook(Hook):
    """The Extraction's life in a run: from whom and where is inherited.

    Before the first iteration it prints the pairing table and makes sure
    that the parent is frozen, and scores the parent on the validation set
    with the images as the child gets them, so that a wrong parent is seen
    before the first epoch. A run that is resumed has that score already;
    random weights are not scored. At the end it tells how many of the parent's
    features were kept ones, where there is a ``parent.cache``.

    Args:
        score_parent (bool): Defaults to True.
    """

    def __init__(self, score_parent: bool = True):
        self.score_parent = score_parent

    def before_train(self, runner) -> None:
        """Print, check, score."""
        model = hereditary(runner)
        if model is None or model.parent is None:
            return
        runner.logger.info('\n' + render(pairing(model)))
        for half in model.halves:
            runner.logger.warning(half)
        trainable = [
            name for name, p in model.parent.named_parameters()
            if p.requires_grad
        ]
        if trainable or model.parent.training:
            raise RuntimeError('The parent is not frozen: '
                               f'{trainable or "it is in training mode"}.')
        # Random weights are worth no look.
        if (self.score_parent and runner.val_loop is not None
                and runner.iter == 0 and not model.parent.random_weights):
            if model.parent.extraction.reordered:
                runner.logger.warning(
                    'THE PARENT IS NOT SCORED on the validation set: its '
                    'classes are in another order than those of the data.')
                return
            try:
                with private_randomness(0):
                    metrics = _score(runner, model.parent)
            except Exception as error:
                # Of other classes, or another task: its features may do.
                runner.logger.warning('THE PARENT COULD NOT BE SCORED on the '
                                      f'validation set: {error}')
                return
            # Beside tables: a confusion matrix, the scores of each class.
            scores = {
                name: float(value)
                for name, value in metrics.items()
                if np.isscalar(value) or getattr(value, 'size', None) == 1
                or torch.is_tensor(value) and value.numel() == 1
            }
            # RecordHook writes them down.
            runner.message_hub.update_info('parent_scores', scores)
            runner.logger.info('The parent on the validation set: ' +
                               ', '.join(f'{name} {value:.4f}'
                                         for name, value in scores.items()))

    def after_train(self, runner) -> None:
        """Tell what the cache of features brought."""
        model = hereditary(runner)
        if model is None or model.parent is None:
            return
        cache = model.parent.extraction.cache
        if cache is not None and cache.asked:
            runner.logger.info(
                f"The parent's features of {cache.found:,} of {cache.asked:,} "
                f'images ({cache.found / cache.asked:.1%}) were kept ones; '
                f'{cache.size() / 2**30:.2f} GiB in "{cache.folder}".')


@torch.no_grad()
def _score(runner, parent: Parent) -> dict:
    loader = runner.val_dataloader
    evaluator = runner.val_evaluator
    evaluator.dataset_meta = getattr(loader.dataset, 'metainfo', None)
    try:
        for batch in loader:
            data = runner.model.data_preprocessor(batch, False)
            outputs = parent(
                data['inputs'], data['data_samples'], mode='predict')
            evaluator.process(data_samples=outputs, data_batch=batch)
        return evaluator.evaluate(len(loader.dataset))
    finally:
        # What is left of a parent that failed would count as the child's.
        for metric in evaluator.metrics:
            metric.results.clear()


def render(table) -> str:
    """A rich table as plain text, for log files too."""
    console = Console(width=120, color_system=None)
    console.width = max(120, console.measure(table).maximum)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()
