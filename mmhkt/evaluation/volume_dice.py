# Copyright (c) mmhkt authors. All rights reserved.
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmhkt.registry import METRICS

# Of one slice: volume, number, how many the volume has, confusion matrix.
Result = Tuple[str, int, int, np.ndarray]


@METRICS.register_module()
class VolumeDice(BaseMetric):
    """Dice and IoU of volumes that are segmented slice by slice.

    As in the `LiTS challenge <https://arxiv.org/abs/1901.04056>`_ each region
    is scored *per volume*, the mean over the volumes, and *globally*, all
    voxels of all volumes together. A region that neither the annotation nor
    the prediction of a volume has scores 1, one that only either has scores
    0.

    All are in %: ``Dice.<region>``, ``IoU.<region>``,
    ``Dice_global.<region>``, ``IoU_global.<region>`` and their means over
    the regions, ``mDice``, ``mIoU``, ``mDice_global`` and ``mIoU_global``.

    Slices may come in any order and from several processes. Samples carry
    ``volume``, ``slice`` and ``slices``, which :class:`LiTSDataset` sets and
    ``PackSegInputs(meta_keys=...)`` has to pass on.

    Args:
        regions (dict[str, Sequence[int]], optional): Name -> labels that
            belong to it, which may be in several. Defaults to None: each
            class but the first on its own. In the challenge the liver
            contains its tumours: ``dict(liver=(1, 2), tumour=(2, ))``.
        ignore_index (int): Label that counts nowhere. Defaults to 255.
        collect_device (str): See :class:`mmengine.evaluator.BaseMetric`.
        prefix (str, optional): The same.

    Raises:
        ValueError: If a mask has a label that is no class, or slices of a
            volume are missing.
    """

    def __init__(self,
                 regions: Optional[Dict[str, Sequence[int]]] = None,
                 ignore_index: int = 255,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None):
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.regions = regions
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Args:
            data_batch (dict): Unused.
            data_samples (Sequence[dict]): With ``pred_sem_seg`` and
                ``gt_sem_seg``.
        """
        classes = len(self.dataset_meta['classes'])
        self.score_regions()  # before hours of predictions
        for sample in data_samples:
            for key in ('volume', 'slice', 'slices'):
                if key not in sample:
                    raise ValueError(
                        f'VolumeDice finds no "{key}" in a sample; the data '
                        'set has to set it, and PackSegInputs(meta_keys=...) '
                        'to pass it on.')
            truth = sample['gt_sem_seg']['data'].squeeze(0)
            predicted = sample['pred_sem_seg']['data'].squeeze(0)
            try:
                counts = confusion(
                    truth.to(predicted.device), predicted, classes,
                    self.ignore_index)
            except ValueError as error:
                raise ValueError(
                    f'{sample.get("seg_map_path") or sample["volume"]}: '
                    f'{error}.') from None
            self.results.append((str(sample['volume']), int(sample['slice']),
                                 int(sample['slices']), counts))

    def compute_metrics(self, results: List[Result]) -> Dict[str, float]:
        """Score all volumes.

        Args:
            results (list): What the processes have counted.
        """
        volumes: Dict[str, Dict[int, np.ndarray]] = {}
        for volume, number, count, counts in results:
            # Processes may share a slice, so that all have equally many.
            volumes.setdefault(volume, {})[number] = counts
        sizes = {volume: count for volume, _, count, _ in results}
        for volume, slices in volumes.items():
            if len(slices) != sizes[volume]:
                raise ValueError(
                    f'Volume {volume} has {sizes[volume]} slices, but only '
                    f'{len(slices)} were predicted; VolumeDice needs whole '
                    'volumes (empty_every=1, indices=None).')
        per_volume = np.stack(
            [sum(slices.values()) for slices in volumes.values()])
        regions = self.score_regions()
        metrics: Dict[str, float] = {}
        for suffix, counts in (('', per_volume),
                               ('_global', per_volume.sum(0, keepdims=True))):
            scores = {r: overlap(counts, regions[r]) for r in regions}
            for i, name in enumerate((f'Dice{suffix}', f'IoU{suffix}')):
                means = {r: 100 * scores[r][i].mean() for r in regions}
                metrics[f'm{name}'] = float(np.mean(list(means.values())))
                metrics.update(
                    {f'{name}.{r}': float(means[r])
                     for r in regions})
        return metrics

    def score_regions(self) -> Dict[str, Sequence[int]]:
        """Name -> labels of each region that is scored.

        Raises:
            ValueError: If a label is no class, or stands there twice.
        """
        classes = range(len(self.dataset_meta['classes']))
        for name, labels in (self.regions or {}).items():
            if not set(labels) <= set(classes) or len(set(labels)) < len(
                    list(labels)):
                raise ValueError(
                    f'VolumeDice: the region "{name}" is {tuple(labels)}; '
                    f'labels are 0 to {classes[-1]}, each once.')
        return self.regions or {
            name: (label, )
            for label, name in enumerate(self.dataset_meta['classes'])
            if label > 0
        }


def confusion(truth: Tensor, predicted: Tensor, classes: int,
              ignore_index: int) -> np.ndarray:
    """How often each class was taken for each.

    Args:
        truth (Tensor): Labels (H, W).
        predicted (Tensor): Labels (H, W).
        classes (int): How many there are.
        ignore_index (int): Label of ``truth`` that does not count.

    Returns:
        ndarray: int64 of shape (classes, classes), ``[true, predicted]``.

    Raises:
        ValueError: If the sizes differ or a label is no class.
    """
    if truth.shape != predicted.shape:
        raise ValueError('the mask is of size {}, the prediction {}'.format(
            tuple(truth.shape), tuple(predicted.shape)))
    counted = truth != ignore_index
    truth, predicted = truth[counted].long(), predicted[counted].long()
    for what, labels in (('mask', truth), ('prediction', predicted)):
        outside = labels[(labels < 0) | (labels >= classes)]
        if len(outside):
            raise ValueError(f'the {what} has the label {int(outside[0])}, '
                             f'but there are {classes} classes, from 0 on')
    counts = torch.bincount(truth * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes).cpu().numpy()


def overlap(counts: np.ndarray,
            labels: Sequence[int]) -> Tuple[np.ndarray, np.ndarray]:
    """Dice and IoU of a region.

    Args:
        counts (ndarray): Confusion matrices (N, classes, classes).
        labels (Sequence[int]): That belong to the region.

    Returns:
        tuple[ndarray, ndarray]: Of shape (N, ), 0 to 1; 1 where the region is
        neither annotated nor predicted.
    """
    labels = list(labels)
    annotated = counts[:, labels, :].sum((1, 2))
    predicted = counts[:, :, labels].sum((1, 2))
    both = counts[:, labels][:, :, labels].sum((1, 2))
    either = annotated + predicted - both
    empty = either == 0
    # Where it is empty 0 / 0 becomes 1 / 1.
    return ((2 * both + empty) / (annotated + predicted + empty),
            (both + empty) / (either + empty))
