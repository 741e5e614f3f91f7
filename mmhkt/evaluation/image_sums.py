# Copyright (c) mmhkt authors. All rights reserved.
"""What a score is made of, image by image.

A score of a finite test set would be another one on other images. How far,
only what each image contributes can tell: this keeps it, for the metrics that
are a ratio of sums over the images, or a mean of such ratios over classes.
"""
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch
from mmengine.dist import collect_results
from mmengine.evaluator import BaseMetric
from mmpretrain.evaluation import Accuracy

from mmhkt.utils.arrays import read_arrays
from mmhkt.utils.files import Damaged, replaced
from .end_point_error import FOUND, SPEEDS, EndPointError
from .volume_dice import VolumeDice, overlap

# What a run's :class:`ImageScores` are called in its folder.
IMAGES = 'images.npz'
# Of mmsegmentation's IoUMetric: score -> metric of the config that has it,
# and what is divided by what, as (factor, areas that are added).
AREAS = {
    'aAcc': (None, (1, ('intersect', )), (1, ('label', ))),
    'mIoU': ('mIoU', (1, ('intersect', )), (1, ('union', ))),
    'mAcc': ('mIoU', (1, ('intersect', )), (1, ('label', ))),
    'mDice': ('mDice', (2, ('intersect', )), (1, ('predicted', 'label'))),
}


@dataclass(frozen=True)
class ImageSums:
    """A score as ``scale`` times the mean over K columns, classes for
    instance, of ``sum(above) / sum(below)`` over N images. Columns without
    anything below do not count.

    Args:
        above (ndarray): (N, K).
        below (ndarray): (N, K).
        scale (float): 100 for scores in %.
    """
    above: np.ndarray
    below: np.ndarray
    scale: float

    def score(self) -> float:
        """Of all images."""
        return float(
            self._mean(
                self.above.sum(0, dtype=float), self.below.sum(0,
                                                               dtype=float)))

    def by_column(self) -> np.ndarray:
        """Of all images, class by class for instance: (K, ), NaN where there
        is nothing below."""
        above, below = (
            x.sum(0, dtype=float) for x in (self.above, self.below))
        with np.errstate(invalid='ignore', divide='ignore'):
            return self.scale * np.where(below > 0, above / below, np.nan)

    def by_image(self) -> np.ndarray:
        """Of each image by itself: (N, ), NaN where it has nothing below."""
        with np.errstate(invalid='ignore', divide='ignore'):
            ratios = np.where(self.below > 0, self.above / self.below, np.nan)
        there = np.isfinite(ratios)
        with np.errstate(invalid='ignore'):
            return self.scale * np.where(there, ratios,
                                         0).sum(1) / there.sum(1)

    def leave_one_out(self) -> np.ndarray:
        """Of all images but one: (N, ), by the one that is left out."""
        above, below = (x.astype(float) for x in (self.above, self.below))
        return self._mean(above.sum(0) - above, below.sum(0) - below)

    def pseudo_values(self) -> np.ndarray:
        """What each image contributes: (N, ), jackknife pseudo-values, whose
        mean is the score but for the jackknife's correction of its bias. Of a
        score that is a mean over images they are each image's own."""
        n = len(self.above)
        return n * self.score() - (n - 1) * self.leave_one_out()

    def _mean(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        with np.errstate(invalid='ignore', divide='ignore'):
            ratios = np.where(below > 0, above / below, np.nan)
        return self.scale * np.nanmean(ratios, axis=-1)


@dataclass(frozen=True)
class ImageScores:
    """What the images of one validation contributed to its scores.

    Args:
        step (int): After which epoch or iteration it was.
        truth (str): A hash of what is true of the images: only scores of the
            same images can be paired.
        sums (dict[str, ImageSums]): By name of the score.
    """
    step: int
    truth: str
    sums: Dict[str, ImageSums]

    def save(self, path: Path) -> None:
        """Write an ``.npz``, of about a byte an image where it is right or
        wrong."""
        arrays = dict(step=self.step, truth=self.truth)
        for name, sums in self.sums.items():
            arrays[f'{name}|above'] = _small(sums.above)
            arrays[f'{name}|below'] = _small(sums.below)
            arrays[f'{name}|scale'] = sums.scale
        with replaced(path) as partial, open(partial, 'wb') as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Optional['ImageScores']:
        """Read what :meth:`save` wrote; None where there is nothing."""
        if not Path(path).is_file():
            return None
        try:
            file = read_arrays(path, ('step', 'truth'))
            names = [k[:-6] for k in file if k.endswith('|above')]
            sums = {
                name:
                ImageSums(file[f'{name}|above'], file[f'{name}|below'],
                          float(file[f'{name}|scale']))
                for name in names
            }
            return cls(int(file['step']), str(file['truth']), sums)
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f'"{path}" is damaged: {error}. Remove it, and '
                          'report again.') from None


def image_scores(metrics: List[BaseMetric], size: int,
                 step: int) -> Optional[ImageScores]:
    """What the images that metrics have processed contribute to the scores.

    All processes of a distributed run have to call it, before the metrics
    are evaluated.

    Args:
        metrics (list): Of the evaluator. Known are mmpretrain's
            ``Accuracy``, mmsegmentation's ``IoUMetric``, ``EndPointError``
            and ``VolumeDice``; others are passed over.
        size (int): Number of samples in the data set.
        step (int): After which epoch or iteration this is.

    Returns:
        ImageScores | None: None in other processes than the first, and
        where no metric is known.
    """
    sums, truths = {}, []
    for metric in metrics:
        kind = next((k for k in _kinds() if isinstance(metric, k)), None)
        if kind is None or not metric.results:
            continue
        shorten, add = _kinds()[kind]
        rows = collect_results(shorten(metric), size, 'cpu')
        if not rows:
            continue
        truth, found = add(metric, rows)
        truths.append(truth)
        prefix = f'{metric.prefix}/' if metric.prefix else ''
        sums.update({prefix + name: value for name, value in found.items()})
    if not sums:
        return None
    digest = hashlib.sha256()
    for truth in truths:
        digest.update(np.ascontiguousarray(truth, dtype=np.int64).tobytes())
    return ImageScores(step, digest.hexdigest(), sums)


def _kinds() -> dict:
    """Metric -> how its results are made small, and added up.

    ``mmseg`` is optional; without it there is no metric of its.
    """
    kinds = {
        Accuracy: (_hits, _accuracy),
        EndPointError: (_as_they_are, _flow),
        VolumeDice: (_as_they_are, _volumes)
    }
    mmseg = sys.modules.get('mmseg.evaluation')
    if mmseg is not None:
        kinds[mmseg.IoUMetric] = (_areas, _segmentation)
    return kinds


def _as_they_are(metric: BaseMetric) -> list:
    return list(metric.results)


def _hits(metric: Accuracy) -> List[Tuple[int, np.ndarray]]:
    """Label, and whether it is among the k likeliest, for each k."""
    results = metric.results
    labels = torch.cat([result['gt_label'] for result in results])
    if len(labels) != len(results) or len(metric.thrs) != 1:
        return []
    if 'pred_score' in results[0]:
        scores = torch.stack([r['pred_score'] for r in results]).float()
        values, classes = scores.topk(max(metric.topk), dim=1)
        hits = classes == labels[:, None]
        if metric.thrs[0] is not None:
            hits &= values > metric.thrs[0]
        hits = torch.stack([hits[:, :k].any(1) for k in metric.topk], 1)
    else:
        hits = torch.cat([r['pred_label'] for r in results]) == labels
        hits = hits[:, None]
    return list(zip(labels.tolist(), hits.numpy()))


def _accuracy(metric: Accuracy, rows: list) -> tuple:
    labels, hits = zip(*rows)
    hits = np.stack(hits)
    names = metric.topk if hits.shape[1] == len(metric.topk) else (1, )
    ones = np.ones((len(hits), 1), bool)
    return labels, {
        f'top{k}': ImageSums(hits[:, i:i + 1], ones, 100.)
        for i, k in enumerate(names)
    }


def _areas(metric: BaseMetric) -> List[np.ndarray]:
    # A class that no image has may be given a score by nan_to_num.
    if metric.format_only or metric.nan_to_num is not None:
        return []
    return [
        np.stack([area.cpu().numpy() for area in result]).astype(np.int64)
        for result in metric.results
    ]


def _segmentation(metric: BaseMetric, rows: list) -> tuple:
    areas = dict(
        zip(('intersect', 'union', 'predicted', 'label'),
            np.stack(rows).transpose(1, 0, 2)))
    sums = {}
    for name, (needed, above, below) in AREAS.items():
        if needed not in (None, *metric.metrics):
            continue
        above, below = (factor * sum(areas[which] for which in added)
                        for factor, added in (above, below))
        if name == 'aAcc':
            above, below = (x.sum(1, keepdims=True) for x in (above, below))
        sums[name] = ImageSums(above, below, 100.)
    return areas['label'], sums


def _flow(metric: EndPointError, rows: list) -> tuple:
    images = [sums for _, sums in rows if sums['pixels'] > 0]
    columns = {
        name: np.array([[sums[name]] for sums in images])
        for name in (images[0] if images else ())
    }
    if not columns:
        return (), {}
    pixels, ones = columns['pixels'], np.ones_like(columns['pixels'])
    sums = {
        'EPE': ImageSums(columns['errors'], pixels, 1.),
        'EPE-image': ImageSums(columns['errors'] / pixels, ones, 1.),
        'Fl': ImageSums(columns['outliers'], pixels, 100.)
    }
    for name in (f'{bound}px' for bound in FOUND):
        sums[name] = ImageSums(columns[name], pixels, 100.)
    for name in SPEEDS:
        if columns[f'{name} pixels'].any():
            sums[name] = ImageSums(columns[f'{name} errors'],
                                   columns[f'{name} pixels'], 1.)
    truth = np.concatenate([columns[f'{name} pixels'] for name in SPEEDS], 1)
    return truth, sums


def _volumes(metric: VolumeDice, rows: list) -> tuple:
    """By volume: that is what such a test set has few of."""
    volumes: Dict[str, Dict[int, np.ndarray]] = {}
    for volume, number, _, counts in rows:
        volumes.setdefault(volume, {})[number] = counts
    counts = np.stack([sum(volumes[v].values()) for v in sorted(volumes)])
    regions = metric.score_regions()
    scores = [overlap(counts, labels) for labels in regions.values()]
    sums = {}
    for i, name in enumerate(('Dice', 'IoU')):
        each = np.stack([score[i] for score in scores], 1)
        sums[f'm{name}'] = ImageSums(each, np.ones_like(each), 100.)
        for column, region in enumerate(regions):
            one = each[:, column:column + 1]
            sums[f'{name}.{region}'] = ImageSums(one, np.ones_like(one), 100.)
    return counts.sum(2), sums


def _small(array: np.ndarray) -> np.ndarray:
    """In as few bytes as hold it; float64 stays."""
    if array.dtype.kind in 'iu' and array.size and array.min() >= 0:
        return array.astype(np.min_scalar_type(array.max()))
    if array.dtype.kind == 'f' and (array == np.rint(array)).all() and (
            array.min(initial=0) >= 0 and array.max(initial=0) < 2**32):
        return _small(array.astype(np.int64))
    return array
