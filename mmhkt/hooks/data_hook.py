# Copyright (c) mmhkt authors. All rights reserved.
from collections import Counter
from typing import Any, List, Optional

import numpy as np
import torch
from mmengine.hooks import Hook

from mmhkt.registry import HOOKS
from mmhkt.utils.settings import Count, Fraction
from .common import hereditary


@HOOKS.register_module()
class DataHook(Hook):
    """Says when nothing can be learned from the data, or not what is meant.

    Before training all labels of a data set that lists them are compared with
    the network's classes. Of the first training samples, as they come out of
    the pipeline, it is said which classes occur, how much of the annotations
    is ignored, and whether the images have any contrast.

    Args:
        samples (int): How many samples are looked at. Defaults to 100.
        saturated (float): Which part of an image's values has to be its
            smallest or its largest one, for the image to be called
            saturated. Defaults to 0.99.
    """

    # Of a data set; more labels would take long to list.
    MOST = 200_000

    def __init__(self, samples: Count = 100, saturated: Fraction = 0.99):
        self.samples = samples
        self.saturated = saturated

    def before_train(self, runner) -> None:
        """Look at all labels.

        Raises:
            ValueError: If one stands for no class.
        """
        self._seen = 0
        self._tally: Counter = Counter()
        self._flat: Counter = Counter()
        model = hereditary(runner)
        if model is None or runner.iter:  # resumed: it was said then
            self._seen = self.samples
            return
        loaders = [runner.train_dataloader]
        if runner.val_loop is not None:
            loaders.append(runner.val_dataloader)
        for loader in loaders:
            labels = self._labels(loader.dataset)
            if labels is None:
                continue
            missing = model.task.check_labels(labels, loader.dataset)
            if missing and loader is runner.train_dataloader:
                runner.logger.warning(
                    f'NO TRAINING IMAGE OF {len(missing)} OF THE '
                    f'{model.task.num_classes} CLASSES: '
                    f'{self._names(missing, loader.dataset)}.')

    def _labels(self, dataset: Any) -> Optional[np.ndarray]:
        try:
            if len(dataset) > self.MOST:
                return None
            labels = np.asarray(dataset.get_gt_labels())
        except (AttributeError, KeyError, NotImplementedError, TypeError,
                ValueError):
            return None
        return labels if labels.dtype.kind in 'iu' else None

    def before_train_iter(self,
                          runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        """Look at the first samples.

        Raises:
            ValueError: If nothing is known of any of them.
        """
        if self._seen >= self.samples or not isinstance(data_batch, dict):
            return
        # Before the data preprocessor pads and mixes.
        task = hereditary(runner).task
        images = data_batch.get('inputs', ())
        for image, sample in zip(images, data_batch.get('data_samples') or ()):
            self._seen += 1
            self._tally.update(task.tally(sample))
            self._flat[self._contrast(image)] += 1
        enough = min(self.samples, len(runner.train_dataloader.dataset))
        if self._seen >= enough:
            for text in self._words(task, runner.train_dataloader.dataset):
                runner.logger.warning(text)
            self._seen = self.samples

    def _contrast(self, image: torch.Tensor) -> str:
        low, high = image.amin(), image.amax()
        if low == high:
            return 'of one value'
        at_ends = ((image == low) | (image == high)).float().mean()
        return 'saturated' if at_ends >= self.saturated else ''

    def _words(self, task, dataset: Any) -> List[str]:
        seen, tally = self._seen, self._tally
        ignored = tally.pop('ignored', 0)
        counted = sum(tally.values())
        if ignored and not counted:
            raise ValueError(
                f'Nothing can be learned: in the first {seen} training '
                'samples every annotation is ignored or unknown. Look at the '
                'labels in the files, at ignore_index and reduce_zero_label.')
        share = ignored / max(ignored + counted, 1)
        also = f', and {share:.0%} is ignored' if ignored else ''
        found = []
        classes = task.num_classes
        if counted and classes:
            missing = [c for c in range(classes) if not tally[c]]
            if len(missing) == classes - 1:
                only = next(c for c in range(classes) if tally[c])
                found.append(
                    f'ONLY ONE OF THE {classes} CLASSES OCCURS in the first '
                    f'{seen} training samples, '
                    f'{self._names([only], dataset)}{also}.')
            elif missing and classes <= 20:
                found.append(
                    f'{len(missing)} OF THE {classes} CLASSES DO NOT OCCUR in '
                    f'the first {seen} training samples: '
                    f'{self._names(missing, dataset)}{also}.')
        if share > 0.9:
            found.append(f'{share:.0%} OF ALL ANNOTATIONS ARE IGNORED in the '
                         f'first {seen} training samples.')
        for what, count in self._flat.items():
            if what and 2 * count > seen:
                found.append(f'{count} OF THE FIRST {seen} TRAINING IMAGES '
                             f'ARE {what.upper()}: look at how they are read '
                             'and at their window.')
        return found

    @staticmethod
    def _names(classes: List[int], dataset: Any, most: int = 10) -> str:
        names = (getattr(dataset, 'metainfo', None) or {}).get('classes') or ()
        shown = [
            f'{c} ({names[c]})'
            if c < len(names) and names[c] != str(c) else str(c)
            for c in classes[:most]
        ]
        return ', '.join(shown) + (', ...' if len(classes) > most else '')
