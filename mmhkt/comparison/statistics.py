# Copyright (c) mmhkt authors. All rights reserved.
"""What the runs of a comparison say, and what they leave open."""
import math
from typing import Dict, List, Optional, Sequence

import numpy as np
from scipy.stats import t as student_t

from mmhkt.utils import one_of

CONFIDENCE = 0.95


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
                      higher_is_better: bool = True) -> dict:
    """What a method adds to the reference, seed by seed.

    Args:
        values (dict[int, float]): The method's scores by seed.
        reference (dict[int, float]): The reference's.
        higher_is_better (bool): Of the score. Defaults to True.

    Returns:
        dict: ``seeds`` that both have, ``values`` (method minus reference, in
        their order, whatever the direction of the score), ``mean`` (None
        without a common seed), ``low`` and ``high`` (95 % confidence
        interval of the mean by Student's t; None for fewer than two seeds),
        ``n``, ``clear`` (whether the interval excludes zero) and
        ``verdict``.
    """
    seeds = [seed for seed in values if seed in reference]
    differences = [values[seed] - reference[seed] for seed in seeds]
    spread = describe(differences)
    mean, low, high = spread['mean'], None, None
    if spread['std'] is not None:
        half = student_t.ppf(
            (1 + CONFIDENCE) / 2,
            len(seeds) - 1) * spread['std'] / math.sqrt(len(seeds))
        low, high = mean - float(half), mean + float(half)
    clear = low is not None and (low > 0 or high < 0)
    return dict(
        seeds=seeds,
        values=differences,
        mean=mean,
        low=low,
        high=high,
        n=len(seeds),
        clear=clear,
        verdict=verdict(mean, clear, higher_is_better))


def verdict(mean: Optional[float], clear: bool, higher_is_better: bool) -> str:
    """``'better'``, ``'worse'``, or ``'unclear'`` where the interval holds
    zero or there is none."""
    if not clear:
        return 'unclear'
    return 'better' if (mean > 0) == higher_is_better else 'worse'


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
        score, see :func:`paired_difference`; None for the reference and
        without one) in every method, and ``fairness`` (see
        :func:`seed_hashes`). Scores that are not finite are None.

    Raises:
        ValueError: If the reference is none of the methods.
    """
    summary = _finite(summary)
    methods = {method['name']: method for method in summary['methods']}
    reference = summary['reference']
    if reference is not None:
        one_of('The reference', reference, methods)
    higher_is_better = summary['metric']['higher_is_better']
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
                    scores[name], scores[reference], higher_is_better)
    summary['fairness'] = seed_hashes(summary)
    return summary


def _by_hash(hashes: Dict[str, Optional[str]]) -> Dict[str, List[str]]:
    names: Dict[str, List[str]] = {}
    for name, value in hashes.items():
        if value is not None:
            names.setdefault(value, []).append(name)
    return names


def _finite(node):
    """A deep copy in which NaN and infinity, which JSON lacks, are None."""
    if isinstance(node, dict):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_finite(value) for value in node]
    if isinstance(node, float) and not math.isfinite(node):
        return None
    return node
