# Copyright (c) mmhkt authors. All rights reserved.
from itertools import combinations
from typing import Dict, List


class ComparisonError(ValueError):
    """Runs that must not stand in one table."""


def check_fair(records: Dict[str, dict]) -> None:
    """Make sure that runs of one seed differ in their method alone.

    Args:
        records (dict[str, dict]): Name of the run -> what it recorded.

    Raises:
        ComparisonError: If two began from other weights or saw other batches;
            lists all such pairs.
    """
    problems: List[str] = []
    for (one, a), (other, b) in combinations(records.items(), 2):
        begun = {a.get('initial_weights'), b.get('initial_weights')}
        if len(begun - {None}) > 1:
            problems.append(f'{one} and {other} began from different weights')
        shared = sorted(set(a['batches']) & set(b['batches']), key=int)
        wrong = [i for i in shared if a['batches'][i] != b['batches'][i]]
        if wrong:
            problems.append(f'{one} and {other} saw different batches, at the '
                            f'latest from iteration {wrong[0]} on')
    _refuse(problems)


def check_one_parent(records: Dict[str, dict]) -> None:
    """Make sure that runs of all seeds had the same parent, if any: a file of
    that name may have been another one in between.

    Raises:
        ComparisonError: If not.
    """
    by_parent: Dict[str, List[str]] = {}
    for name, record in records.items():
        parent = record.get('parent_weights')
        if parent is not None:
            by_parent.setdefault(parent, []).append(name)
    if len(by_parent) > 1:
        _refuse([
            f'{" and ".join(names)} had the parent {parent[:8]}'
            for parent, names in by_parent.items()
        ])


def _refuse(problems: List[str]) -> None:
    if problems:
        raise ComparisonError('this comparison would not be fair: ' +
                              '; '.join(problems))
