# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Dict, List, Optional, Sequence

import torch
from mmengine.evaluator import BaseMetric

from mmhkt.registry import METRICS
from mmhkt.utils import nearest

# A pixel counts as found if its error is below so many pixels.
FOUND = (1, 3, 5)
# Bounds of the true speeds that Sintel tells apart, in pixels a frame.
SPEEDS = {'s0-10': (0, 10), 's10-40': (10, 40), 's40+': (40, float('inf'))}


@METRICS.register_module()
class EndPointError(BaseMetric):
    """How far predicted flow ends from where it should.

    Over all pixels whose flow is known:

    - ``EPE``: the mean over all pixels of all images, in pixels, as Sintel
      reports it;
    - ``EPE-image``: the mean over images of each one's mean, as RAFT reports
      it of KITTI;
    - ``1px``, ``3px``, ``5px``: pixels whose error is below that, in %;
    - ``Fl``: outliers as KITTI defines them, whose error is above 3 px and
      above 5 % of the true speed, in %;
    - ``s0-10``, ``s10-40``, ``s40+``: ``EPE`` of the pixels of these true
      speeds, in pixels a frame, where there are any.

    Sums of each image are gathered over all processes, so that all of these
    are right however images are distributed.

    Args:
        by (str, optional): A key of the samples' metainfo, ``'subset'`` for
            instance. For each of its values all of the above is reported too,
            as ``'<value>/EPE'`` and so on. Defaults to None.
        **kwargs: Other arguments of :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: If a sample has no true flow or no such metainfo, or the
            flow of not a single pixel is known.
    """

    default_prefix = ''  # none, where None would be warned of

    def __init__(self, by: Optional[str] = None, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure a batch.

        Args:
            data_batch: Not used.
            data_samples (Sequence[dict]): With ``pred_flow``, ``gt_flow`` and
                ``valid``.
        """
        for sample in data_samples:
            if 'gt_flow' not in sample:
                raise ValueError(
                    f'{sample.get("img_path", "A sample")} has no true flow '
                    'to compare with.')
            valid = sample['valid']
            truth = sample['gt_flow'][:, valid].double()
            errors = (sample['pred_flow'][:, valid].double() -
                      truth).norm(dim=0)
            sums = _sums(errors, truth.norm(dim=0))
            if self.by is not None and self.by not in sample:
                raise ValueError(f'by="{self.by}": a sample has no such '
                                 f'metainfo; {nearest(self.by, sample)}.')
            group = self.by and str(sample[self.by])
            self.results.append((group, sums))

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Put the images' sums together."""
        metrics = _metrics([sums for _, sums in results])
        if self.by is not None:
            for group in dict.fromkeys(group for group, _ in results):
                of_group = _metrics([s for g, s in results if g == group])
                metrics.update({
                    f'{group}/{name}': value
                    for name, value in of_group.items()
                })
        return metrics


def _sums(errors: torch.Tensor, speeds: torch.Tensor) -> Dict[str, float]:
    """What of an image has to be known to average over several."""
    # So that a prediction that is no number is one.
    outliers = ~((errors <= 3) | (errors <= 0.05 * speeds))
    sums = dict(
        pixels=len(errors), errors=errors.sum(), outliers=outliers.sum())
    for bound in FOUND:
        sums[f'{bound}px'] = (errors < bound).sum()
    for name, (low, high) in SPEEDS.items():
        among = (low <= speeds) & (speeds < high)
        sums[f'{name} pixels'] = among.sum()
        sums[f'{name} errors'] = errors[among].sum()
    return {name: float(value) for name, value in sums.items()}


def _metrics(images: List[Dict[str, float]]) -> Dict[str, float]:
    # An image without a known pixel has no mean.
    images = [sums for sums in images if sums['pixels'] > 0]
    if not images:
        raise ValueError('No pixel of any image has a known flow.')
    total = {name: sum(sums[name] for sums in images) for name in images[0]}
    pixels = total['pixels']
    metrics = {
        'EPE':
        total['errors'] / pixels,
        'EPE-image':
        sum(sums['errors'] / sums['pixels'] for sums in images) / len(images)
    }
    for bound in FOUND:
        metrics[f'{bound}px'] = 100 * total[f'{bound}px'] / pixels
    metrics['Fl'] = 100 * total['outliers'] / pixels
    for name in SPEEDS:
        if total[f'{name} pixels'] > 0:
            metrics[name] = total[f'{name} errors'] / total[f'{name} pixels']
    return metrics
