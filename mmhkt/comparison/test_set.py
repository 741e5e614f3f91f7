# Copyright (c) mmhkt authors. All rights reserved.
"""What the finite test set leaves open, from what the runs kept of images."""
from dataclasses import asdict
from typing import Dict, List, Optional

import numpy as np

from mmhkt.evaluation import IMAGES, ImageScores
from .fairness import ComparisonError
from .intervals import over_seeds_and_images
from .plan import Plan

# mmsegmentation rounds its scores, in %, to two digits.
ROUNDED = 0.006


def add_test_set(plan: Plan, methods: List[dict], metric: str) -> List[str]:
    """Put ``test_set`` into each method: how far its difference to the
    reference is known, if not only the seeds but the images were others.

    Args:
        plan (Plan): What was run.
        methods (list[dict]): Of the summary, with their runs; changed in
            place: ``seeds``, ``images`` (their number), ``low``, ``high``,
            ``p`` and ``p_equivalent``, see
            :func:`mmhkt.comparison.intervals.over_seeds_and_images`; None
            where the runs kept no scores of images by this metric.
        metric (str): The score.

    Returns:
        list[str]: The runs that kept nothing of their images, or what no
        interval can be made of, where others kept it.

    Raises:
        ComparisonError: If runs were judged on different images.
    """
    values = {
        method['name']: _values_of(plan, method, metric)
        for method in methods
    }
    _check_same({
        f'{name}, seed {seed}': truth
        for name, runs in values.items()
        for seed, (truth, _) in runs.items()
    })
    reference = values.get(plan.reference, {})
    for method in methods:
        found = None
        if method['name'] != plan.reference:
            found = _interval(values[method['name']], reference, plan.margin)
        method['test_set'] = found
    if not any(values.values()):
        return []
    return [
        f'{method["label"]}, seed {run["seed"]}' for method in methods
        for run in method['runs']
        if _scored(run) and run['seed'] not in values[method['name']]
    ]


def _scored(run: dict) -> bool:
    return run['last'] is not None and bool(np.isfinite(run['last']))


def _interval(runs: Dict[int, tuple], reference: Dict[int, tuple],
              margin: Optional[float]) -> Optional[dict]:
    seeds = [seed for seed in runs if seed in reference]
    if not seeds:
        return None
    values = np.stack([runs[seed][1] - reference[seed][1] for seed in seeds])
    interval = over_seeds_and_images(values, margin)
    if interval is None:
        return None
    return dict(seeds=seeds, images=values.shape[1], **asdict(interval))


def _values_of(plan: Plan, method: dict, metric: str) -> Dict[int, tuple]:
    """Seed -> what is true of the images, and what each contributed to the
    last score, of the runs that kept it."""
    found = {}
    for run in method['runs']:
        if not _scored(run):
            continue
        scores = ImageScores.load(plan.folder / run['folder'] / IMAGES)
        if scores is None or metric not in scores.sums:
            continue
        sums = scores.sums[metric]
        # A file that was copied here, say, is of another validation.
        slack = ROUNDED if sums.scale == 100 else 1e-4 * abs(run['last'])
        parts = sums.pseudo_values()
        # Without the only image that has what is scored there is no score.
        if (scores.step == run['curve'][-1][0] and np.isfinite(parts).all()
                and abs(sums.score() - run['last']) <= slack):
            found[run['seed']] = scores.truth, parts
    return found


def _check_same(truths: Dict[str, str]) -> None:
    by_truth: Dict[str, List[str]] = {}
    for name, truth in truths.items():
        by_truth.setdefault(truth, []).append(name)
    if len(by_truth) > 1:
        one, other = list(by_truth.values())[:2]
        raise ComparisonError('this comparison would not be fair: '
                              f'{one[0]} and {other[0]} were judged on '
                              'different images')
