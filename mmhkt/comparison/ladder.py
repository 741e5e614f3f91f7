# Copyright (c) mmhkt authors. All rights reserved.
"""A ladder of budgets: the same comparison at several lengths of training."""
from dataclasses import replace
from pathlib import Path
from typing import List, Optional

from .budgets import in_words, length_of, name_of, scaled, steps_of
from .costs import EQUAL, SLACK, length_for, seconds_of
from .entries import Entry
from .plan import Plan


def rungs_of(plan: Plan, costs: Optional[dict]) -> List[Plan]:
    """A comparison for each budget, each with a folder and a report of its
    own.

    Args:
        plan (Plan): What was asked for.
        costs (dict, optional): What its methods cost, see
            :func:`mmhkt.comparison.costs.kept_costs`. With
            ``plan.equal_cost`` each method whose step takes longer than the
            reference's also gets a row in which it is trained for as much
            time instead of as many steps.

    Returns:
        list[Plan]: The plan itself, if it has neither.
    """
    if not plan.budgets:
        return [_with_equal_cost(plan, costs)]
    return [
        _with_equal_cost(
            replace(
                plan,
                title=f'{plan.title}, {_words(plan, budget)}',
                folder=Path(plan.folder, name_of(budget)),
                budget=_words(plan, budget),
                entries=[
                    replace(
                        entry,
                        cfg=scaled(entry.cfg, steps_of(budget, entry.cfg)))
                    for entry in plan.entries
                ],
                # Once is enough.
                score_parent=plan.score_parent and i == 0),
            costs) for i, budget in enumerate(plan.budgets)
    ]


def _with_equal_cost(plan: Plan, costs: Optional[dict]) -> Plan:
    if not plan.equal_cost or plan.reference not in (costs or {}).get(
            'totals', ()):
        return plan
    base = next(e for e in plan.entries if e.name == plan.reference)
    seconds = seconds_of(costs, base.name, length_of(base.cfg)[0])
    entries = []
    for entry in plan.entries:
        entries.append(entry)
        if entry.name == plan.reference or entry.name not in costs['totals']:
            continue
        length, _ = length_of(entry.cfg)
        shorter = max(1, round(length_for(costs, entry.name, seconds)))
        missed = seconds_of(costs, entry.name, shorter) / seconds - 1
        if shorter < length and abs(missed) <= SLACK:
            entries.append(
                Entry(f'{entry.name}{EQUAL}', f'{entry.label}, equal cost',
                      scaled(entry.cfg, shorter)))
    return replace(plan, entries=entries)


def _words(plan: Plan, budget) -> str:
    cfg = plan.entries[0].cfg
    return in_words(steps_of(budget, cfg), length_of(cfg)[1])
