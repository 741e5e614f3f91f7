# Copyright (c) mmhkt authors. All rights reserved.
"""Puts what all runs recorded into one plain dict."""
import math
import statistics
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from mmhkt.utils import nearest, type_name
from mmhkt.utils.config import ConfigError, plain
from mmhkt.utils.garbage import uncollected
from .costs import EQUAL
from .entries import is_alone, other_recipes
from .examples import collect_examples
from .fairness import ComparisonError, check_fair, check_one_parent
from .metrics import higher_is_better
from .plan import Plan, Run
from .records import curve_of, error_of, read_record, state_of
from .test_set import add_test_set


@uncollected()
def summarise(plan: Plan, command: str, costs: Optional[dict]) -> dict:
    """What a report is made of.

    It depends on what the runs have recorded alone, not on when or in how
    many attempts they were run.

    Args:
        plan (Plan): What was to be run.
        command (str): How to run it again.
        costs (dict, optional): What is known of them, see
            :func:`mmhkt.comparison.costs.costs_of`.

    Where runs are not comparable it has no reference, and ``refused`` says
    why.

    Raises:
        ConfigError: If the metric is not there, or cannot be judged.
    """
    records = {run.name: read_record(run.folder) for run in plan.runs}
    refused = None
    try:
        _check(plan, records)
    except ComparisonError as error:
        refused = str(error)
    known = [record for record in records.values() if record]
    metric = _metric(plan, known)
    higher = higher_is_better(metric, plan.rule)
    methods = []
    for entry in plan.entries:
        runs = [run for run in plan.runs if run.entry is entry]
        method = entry.cfg.get('method')
        methods.append(
            dict(
                name=entry.name,
                label=entry.label,
                config=plain(method),
                runs=[
                    _summary_of_run(plan, run, records[run.name], metric,
                                    higher) for run in runs
                ]))
    without_images: List[str] = []
    try:
        without_images = add_test_set(plan, methods, metric)
    except ComparisonError as error:
        refused = refused or str(error)
    _add_costs(plan, methods, records, costs or {})
    return dict(
        title=plan.title,
        command=command,
        metric=dict(name=metric, higher_is_better=higher),
        unit=_common(known, 'unit') or 'epoch',
        seeds=list(plan.seeds),
        reference=None if refused else plan.reference,
        refused=refused,
        without_images=without_images,
        # Rows of equal cost are shorter on purpose.
        recipes=other_recipes(
            [e for e in plan.entries if not e.name.endswith(EQUAL)]),
        left_out=list(plan.left_out),
        margin=plan.margin,
        equal_cost=plan.equal_cost,
        environment=_environment(known),
        parent=_parent(plan, metric, known),
        parent_weights=sorted({r.get('parent_weights')
                               for r in known} - {None}),
        deployed=dict(
            parameters=_parameters(known), flops=(costs or {}).get('flops')),
        methods=methods,
        examples=collect_examples(plan))


def _check(plan: Plan, records: Dict[str, dict]) -> None:
    started = [run for run in plan.runs if records[run.name]]
    for seed in plan.seeds:
        check_fair({
            run.name: records[run.name]
            for run in started if run.seed == seed
        })
    # Training configs of one's own may name different parents.
    parents = {run.name: str(run.entry.cfg.get('parent')) for run in started}
    for parent in set(parents.values()):
        check_one_parent({
            name: records[name]
            for name in parents if parents[name] == parent
        })


def _metric(plan: Plan, records: List[dict]) -> str:
    seen: Dict[str, None] = {}
    for record in records:
        for scores in record['validations'].values():
            seen.update(dict.fromkeys(scores))
    if plan.metric is None:
        return next(iter(seen), 'accuracy/top1')
    if seen and plan.metric not in seen:
        raise ConfigError(f'comparison: no run was scored by "{plan.metric}"; '
                          f'{nearest(plan.metric, seen)}')
    return plan.metric


def _summary_of_run(plan: Plan, run: Run, record: dict, metric: str,
                    higher: bool) -> dict:
    state = state_of(run.folder, record)
    curve = curve_of(record, metric)
    if state == 'finished' and curve and not math.isfinite(curve[-1][1]):
        state = 'diverged'
    last = best = best_at = None
    if state == 'finished' and curve:
        last = curve[-1][1]
        # Of NaN neither max nor min knows what to make.
        finite = [point for point in curve if math.isfinite(point[1])]
        best_at, best = (max if higher else min)(
            finite or curve, key=lambda p: p[1])
    return dict(
        seed=run.seed,
        state=state,
        folder=plan.within(run.folder),
        curve=curve,
        last=last,
        best=best,
        best_at=best_at,
        error=dict(
            failed=error_of(run.folder),
            diverged=record.get('diverged')
            or 'its weights or its last score are not finite').get(state),
        skipped=record.get('skipped', 0),
        seconds=_seconds(record) if state == 'finished' else None,
        initial_weights=record.get('initial_weights'),
        batches=_thinned_batches(record),
        training={
            name: _thinned(curve)
            for name, curve in record.get('training', {}).items()
        },
        peak_memory=record.get('peak_memory'))


def _seconds(record: dict) -> Optional[float]:
    """What its steps took, but for validations and pauses."""
    # The median of an older version says little of steps of several kinds.
    step = record.get('mean_step') or record.get('step')
    return None if step is None else step * record['iter']


# Of a run's batches, and of a curve that is only drawn; the record has all.
BATCHES, POINTS = 8, 60


def _thinned_batches(record: dict) -> Dict[str, str]:
    """After some iterations, the same in all runs, and the last.

    A hash is of all batches before it, so that none is left unseen.
    """
    batches = record.get('batches', {})
    iterations = sorted(map(int, batches))
    if not iterations:
        return {}
    stride = iterations[0] * max(
        1,
        record.get('max_iters', 1) // (BATCHES * iterations[0]))
    return {
        str(i): batches[str(i)]
        for i in iterations if i % stride == 0 or i == iterations[-1]
    }


def _thinned(curve: List[list]) -> List[list]:
    stride = -(-len(curve) // POINTS)
    return curve[::-stride][::-1] if stride else []


def _add_costs(plan: Plan, methods: List[dict], records: Dict[str, dict],
               costs: dict) -> None:
    steps = costs.get('medians', {})
    memory, extra = {}, {}
    for entry in plan.entries:
        known = [
            records[run.name] for run in plan.runs
            if run.entry is entry and records[run.name].get('finished')
        ]
        extra[entry.name] = _common(known, 'extra_parameters')
        # Of an older version it may be missing.
        peaks = [r['peak_memory'] for r in known if r.get('peak_memory')]
        memory[entry.name] = statistics.mean(peaks) if peaks else None
    for method in methods:
        name = method['name']
        method['cost'] = dict(
            step=steps.get(name),
            relative_step=_ratio(steps, name, plan.reference),
            relative_memory=_ratio(memory, name, plan.reference),
            extra_parameters=extra[name])


def _ratio(values: dict, name: str, reference: Optional[str]):
    value, base = values.get(name), values.get(reference)
    return value / base if value is not None and base else None


def _parent(plan: Plan, metric: str, records: List[dict]) -> Optional[dict]:
    if plan.parent is not None:
        curve = curve_of(read_record(plan.parent.folder), metric)
        return dict(
            name=plan.parent.entry.label,
            score=curve[-1][1] if curve else None)
    for entry in plan.entries:
        parent = entry.cfg.get('parent')
        if parent and not is_alone(entry.cfg.get('method')):
            scores = [record.get('parent_scores') or {} for record in records]
            return dict(
                name=_name_of(parent),
                score=next((s[metric] for s in scores if metric in s), None))
    return None


def _name_of(parent: dict) -> str:
    config, module = parent.get('config'), parent.get('module')
    if isinstance(config, str):
        return Path(config).stem
    if isinstance(module, str):
        module = dict(type=module)
    return type_name(module) if isinstance(module, dict) else 'parent'


def _environment(records: List[dict]) -> Dict[str, Any]:
    """The setup of all runs, flat; where they differ, all that is said."""
    setups = [record['setup'] for record in records if 'setup' in record]
    names = list(dict.fromkeys(name for setup in setups for name in setup))
    found = {}
    for name in names:
        values = [setup.get(name) for setup in setups]
        said = list(dict.fromkeys(map(_said, values)))
        found[name.replace('_',
                           ' ')] = values[0] if len(said) == 1 and isinstance(
                               values[0], (int, float)) else '; '.join(said)
    return found


def _said(value: Any) -> str:
    if isinstance(value, dict) and 'images' in value:
        return ', '.join(
            filter(None, [
                value['type'],
                value.get('where'),
                value.get('split') and f'split {value["split"]}',
                f'{value["images"]:,} images',
                value.get('classes') and f'{value["classes"]} classes'
            ]))
    if isinstance(value, dict):
        return ', '.join(f'{k} {v}' for k, v in value.items() if v is not None)
    return str(value)


def _parameters(records: List[dict]) -> Union[int, str, None]:
    """Of the child; as one text where there are several."""
    several = sorted({r['parameters'] for r in records} - {None})
    if len(several) > 1:
        return ', '.join(f'{number:,}' for number in several)
    return several[0] if several else None


def _common(records: List[dict], key: str) -> Any:
    """What all records say; None where they differ."""
    values = {record.get(key) for record in records}
    return values.pop() if len(values) == 1 else None
