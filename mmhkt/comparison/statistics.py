# Copyright (c) mmhkt authors. All rights reserved.
"""What the runs of a comparison say, and what they leave open."""
import math
from dataclasses import asdict
from typing import Dict, List, Optional, Sequence

import numpy as np

from mmhkt.utils import one_of
from .intervals import CONFIDENCE, ENOUGH_SEEDS, holm, over_seeds


def describe(values: Sequence[float]) -> dict:
    """Mean and spread of one score over the seeds.

    Args:
        values (Sequence[float]): One a seed.

    Returns:
        dict: ``mean`` (None without values), ``std`` (of the sample, with
        n - 1; None for fewer than two) and ``n``.
    """
    return dict(
        mean=float(np.mean(values)) if values else None,
        std=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        n=len(values))


def paired_difference(values: Dict[int, float],
                      reference: Dict[int, float],
                      margin: Optional[float] = None,
                      test_set: Optional[dict] = None) -> dict:
    """What a method adds to the reference, seed by seed.

    Args:
        values (dict[int, float]): The method's scores by seed.
        reference (dict[int, float]): The reference's.
        margin (float, optional): Within which two methods count as
            equivalent. Defaults to None.
        test_set (dict, optional): How far the difference is known with other
            images, see :func:`mmhkt.comparison.test_set.add_test_set`.
            Defaults to None. It may be of some of the seeds.

    Returns:
        dict: ``seeds`` that both have, ``values`` (method minus reference, in
        their order, whatever the direction of the score), ``mean`` (None
        without a common seed), ``n``; ``low`` and ``high``, see
        :func:`over_seeds` (None without an interval); ``test_set``; and
        ``p`` and ``p_equivalent``, the larger one of both tests (None
        without any).
    """
    seeds = [seed for seed in values if seed in reference]
    differences = [values[seed] - reference[seed] for seed in seeds]
    # Scores may have been through float32.
    scale = max([abs(x[s]) for x in (values, reference) for s in seeds],
                default=0)
    interval = over_seeds(differences, margin, 1e-6 * scale)
    over = asdict(interval) if interval else {}
    tests = [test for test in (over, test_set) if test]
    return dict(
        seeds=seeds,
        values=differences,
        mean=describe(differences)['mean'],
        n=len(seeds),
        low=over.get('low'),
        high=over.get('high'),
        test_set=test_set,
        **{
            key:
            max((test[key] for test in tests), default=None) if all(
                test[key] is not None for test in tests) else None
            for key in ('p', 'p_equivalent')
        })


def verdict(difference: dict, higher_is_better: bool) -> Optional[str]:
    """What a difference shows.

    Args:
        difference (dict): With ``adjusted`` and ``adjusted_equivalent``, its
            p-values adjusted for the number of methods.
        higher_is_better (bool): Of the score.

    Returns:
        str | None: ``'equivalent'`` where it was shown to be within the
        margin, else ``'better'`` or ``'worse'`` where it was shown not to be
        zero, else ``'unclear'``; None for fewer than
        :data:`~mmhkt.comparison.intervals.ENOUGH_SEEDS` seeds, and where
        nothing could be tested, because all seeds differ by the same.
    """
    if difference['n'] < ENOUGH_SEEDS or difference['adjusted'] is None:
        return None
    level = 1 - CONFIDENCE
    if _below(difference['adjusted_equivalent'], level):
        return 'equivalent'
    if not _below(difference['adjusted'], level):
        return 'unclear'
    better = (difference['mean'] > 0) == higher_is_better
    return 'better' if better else 'worse'


def _below(p: Optional[float], level: float) -> bool:
    return p is not None and p < level


def seed_hashes(summary: dict) -> List[dict]:
    """What tells whether the runs of a seed began alike on the same data.

    Args:
        summary (dict): The comparison.

    Returns:
        list[dict]: For each seed ``seed``; ``initial_weights``, from hash to
        the methods that have it; ``batches``, the same at ``iteration``, the
        first at which they differ, else the last; ``fair``, False if either
        has more than one hash; and ``unrecorded``, the methods that finished
        without being compared in both.
    """
    checks = []
    for seed in summary['seeds']:
        runs = {
            method['name']: run
            for method in summary['methods']
            for run in method['runs'] if run['seed'] == seed
        }
        weights = _by_hash({
            name: run['initial_weights']
            for name, run in runs.items()
        })
        batches, iteration = {}, None
        for iteration in sorted(
            {i
             for run in runs.values()
             for i in run['batches']}, key=int):
            batches = _by_hash({
                name: run['batches'].get(iteration)
                for name, run in runs.items()
            })
            if len(batches) > 1:
                break
        compared = set.intersection(
            *({name
               for names in hashes.values()
               for name in names} for hashes in (weights, batches)))
        checks.append(
            dict(
                seed=seed,
                initial_weights=weights,
                batches=batches,
                iteration=iteration,
                fair=len(weights) <= 1 and len(batches) <= 1,
                unrecorded=[
                    name for name, run in runs.items()
                    if run['state'] == 'finished' and name not in compared
                ]))
    return checks


def add_statistics(summary: dict) -> dict:
    """A copy of a comparison with what its finished runs say.

    Args:
        summary (dict): The comparison; is not changed.

    Returns:
        dict: With ``last`` and ``best`` (see :func:`describe`) and
        ``difference`` and ``difference_best`` (of the last and of the best
        score, see :func:`paired_difference`, with ``adjusted``,
        ``adjusted_equivalent``, by :func:`holm` over all methods, and
        ``verdict``; None for the reference and without one) in every method,
        and ``fairness`` (see :func:`seed_hashes`). Scores that are not finite
        are None.

    Raises:
        ValueError: If the reference is none of the methods.
    """
    summary = _finite(summary)
    methods = {method['name']: method for method in summary['methods']}
    reference = summary['reference']
    if reference is not None:
        one_of('The reference', reference, methods)
    higher_is_better = summary['metric']['higher_is_better']
    margin = summary.get('margin')
    for key, difference in (('last', 'difference'), ('best',
                                                     'difference_best')):
        scores = {
            name: {
                run['seed']: run[key]
                for run in method['runs']
                if run['state'] == 'finished' and run[key] is not None
            }
            for name, method in methods.items()
        }
        for name, method in methods.items():
            method[key] = describe(list(scores[name].values()))
            method[difference] = None if reference in (
                None, name) else paired_difference(
                    scores[name],
                    scores[reference],
                    margin,
                    # Images are kept of the last validation.
                    method.get('test_set') if key == 'last' else None)
            if (key == 'last' and method[difference]
                    and summary.get('without_images')
                    and not method.get('test_set')):
                # What the test set leaves open can be told of others, but
                # not of it; by the seeds alone it would pass more easily.
                method[difference].update(p=None, p_equivalent=None)
        _judge([
            method[difference]
            for method in methods.values() if method[difference]
        ], higher_is_better)
    summary['fairness'] = seed_hashes(summary)
    return summary


def _judge(differences: List[dict], higher_is_better: bool) -> None:
    """Adjust the p-values for the number of methods, and give verdicts."""
    for key, adjusted in (('p', 'adjusted'), ('p_equivalent',
                                              'adjusted_equivalent')):
        for difference, p in zip(differences,
                                 holm([d[key] for d in differences])):
            difference[adjusted] = p
    for difference in differences:
        difference['verdict'] = verdict(difference, higher_is_better)


def _by_hash(hashes: Dict[str, Optional[str]]) -> Dict[str, List[str]]:
    names: Dict[str, List[str]] = {}
    for name, value in hashes.items():
        if value is not None:
            names.setdefault(value, []).append(name)
    return names


def _finite(node):
    """A deep copy in which NaN and infinity, which JSON lacks, are None."""
    if isinstance(node, float):  # first, since most are
        return node if math.isfinite(node) else None
    if isinstance(node, (list, tuple)):
        return [_finite(value) for value in node]
    if isinstance(node, dict):
        return {key: _finite(value) for key, value in node.items()}
    return node
