# Copyright (c) mmhkt authors. All rights reserved.
"""All that was found, as plain data."""
import math
from typing import Dict, List, Optional, Tuple

import numpy as np
from mmengine.config import Config

from mmhkt.comparison.intervals import holm
from mmhkt.comparison.metrics import higher_is_better, metric_of
from mmhkt.utils import type_name
from .changes import (accuracy_by_class, better_and_worse, calibration,
                      score_by_part, won_and_lost)
from .given import Given
from .observe import PARENT, Observation

# Of flow; other scores are in %.
PIXELS = ('EPE', 'EPE-image')
# Evaluator -> what it scores one by one, where that is no image.
NOUNS = dict(EndPointError='pairs', VolumeDice='volumes')


def summarise(found: Observation, classes: List[str], given: Given) -> dict:
    """All that was found, as plain data.

    Args:
        found (Observation): What was seen.
        classes (list[str]): Names of the data set's classes, if it has any.
        given (Given): The children.

    Returns:
        dict: ``cka`` and ``explained`` of each child; ``metric``, ``unit``,
        ``higher`` and ``networks``, of each its ``score``, ``by_part`` and
        ``calibration``, if the task has a score; ``changes`` of each child
        that inherited, against ``reference``, its ``p`` adjusted by Holm for
        the number of such children; ``best``, the child whose score is;
        ``noun``, what is scored one by one, and ``scored``, how many there
        are.
    """
    summary = dict(
        images=found.images,
        scored=found.images,
        noun='images',
        held_out=found.held_out,
        checkpoints=dict(given.checkpoints),
        reference=given.reference,
        stages=[list(pair) for pair in found.stages],
        cka={
            name: _plain(value)
            for name, value in found.cka.items()
        },
        explained={
            name: _plain(value)
            for name, value in found.explained.items()
        },
        metric=None,
        unit=None,
        higher=True,
        parts=None,
        classification=bool(found.scores),
        networks={},
        changes={},
        best=None)
    if found.scores:
        _add_classes(summary, found, classes, given)
    else:
        _add_scores(summary, found, classes, given)
    if summary['networks']:
        sign = 1 if summary['higher'] else -1
        summary['best'] = max(
            given.inherited,
            key=lambda name: sign * summary['networks'][name]['score'])
    return summary


def _add_classes(summary: dict, found: Observation, classes: List[str],
                 given: Given) -> None:
    count = next(iter(found.scores.values())).shape[1]
    names = classes if len(classes) == count else [
        str(i) for i in range(count)
    ]
    summary.update(metric='top-1', unit='%', parts='class', classes=names)
    right: Dict[str, np.ndarray] = {}
    for name, scores in found.scores.items():
        predicted = scores.argmax(1)
        right[name] = predicted == found.labels
        summary['networks'][name] = dict(
            score=100 * float(right[name].mean()),
            by_part=dict(
                zip(
                    names,
                    _plain(
                        100 *
                        accuracy_by_class(predicted, found.labels, count)))),
            calibration={
                key: _plain(value)
                for key, value in calibration(scores, found.labels).items()
            })
    _add_changes(summary, right, given, won_and_lost, found.positions)


def _add_scores(summary: dict, found: Observation, classes: List[str],
                given: Given) -> None:
    metric, rule = metric_of(given.cfg)
    if metric is None or not all(metric in s for s in found.sums.values()):
        return
    name = metric.rpartition('/')[2]
    summary.update(
        metric=name,
        unit='px' if name in PIXELS else '%',
        higher=higher_is_better(metric, rule),
        parts='speed, px a frame' if name in PIXELS else 'class')
    summary['noun'] = noun_of(given.cfg)
    by_image = {}
    for network, sums in found.sums.items():
        by_image[network] = sums[metric].by_image()
        summary['networks'][network] = dict(
            score=sums[metric].score(),
            by_part={
                part: _plain(value)
                for part, value in score_by_part(sums, metric,
                                                 classes).items()
            },
            calibration=None)

    summary['scored'] = len(next(iter(by_image.values())))

    def compare(child, alone, parent) -> dict:
        return better_and_worse(child, alone, parent, summary['higher'])

    _add_changes(summary, by_image, given, compare, found.positions)


def noun_of(cfg: Config) -> str:
    """What a config's evaluator scores one by one."""
    evaluators = cfg.get('val_evaluator') or ()
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    nouns = map(NOUNS.get, map(type_name, evaluators))
    return next(filter(None, nouns), 'images')


def _add_changes(summary: dict, values: dict, given: Given, compare,
                 positions: Optional[np.ndarray]) -> None:
    if given.reference is None:
        return
    alone = values[given.reference]
    # Volumes, and pairs some of which have no flow, are counted as they are.
    if positions is None or len(positions) != len(alone) or (summary['noun']
                                                             == 'volumes'):
        positions = np.arange(len(alone))
    for name in given.inherited:
        changes = compare(values[name], alone, values.get(PARENT))
        summary['changes'][name] = dict(
            changes,
            difference=summary['networks'][name]['score'] -
            summary['networks'][given.reference]['score'],
            won=len(changes['won']),
            lost=len(changes['lost']),
            won_samples=positions[changes['won']].tolist(),
            lost_samples=positions[changes['lost']].tolist())
    # One of them is the best on these very images.
    adjusted = holm([c['p'] for c in summary['changes'].values()])
    for changes, p in zip(summary['changes'].values(), adjusted):
        changes['p'] = p


def largest_changes(summary: dict,
                    name: str,
                    count: int = 3) -> List[Tuple[str, float]]:
    """The classes, or speeds, in which a child gains most on the child alone,
    with the gain in the metric's unit; below 0 where it is worse."""
    ours, alone = (
        summary['networks'][who]['by_part']
        for who in (name, summary['reference']))
    sign = 1 if summary['higher'] else -1
    gains = [(part, sign * (value - alone[part]))
             for part, value in ours.items()
             if value is not None and alone.get(part) is not None]
    return sorted(gains, key=lambda pair: -pair[1])[:count]


def _plain(value) -> Optional[object]:
    if isinstance(value, np.ndarray):
        return [_plain(x) for x in value.tolist()]
    if isinstance(value, list):
        return [_plain(x) for x in value]
    return None if isinstance(value, float) and math.isnan(value) else value
