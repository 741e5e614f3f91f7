# Copyright (c) mmhkt authors. All rights reserved.
"""What each method of a comparison costs a training step."""
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
from mmengine.config import Config

from mmhkt.utils.config import plain
from mmhkt.utils.files import read_json, write_text
from mmhkt.utils.settings import Number
from .budgets import length_of
from .entries import Entry
from .plan import Plan

COSTS = 'costs.json'
ROUNDS = 15
# Of an entry that is trained for as much time as the reference.
EQUAL = '-equal-cost'
# By how much of that time it may miss it.
SLACK = 0.1
# What may differ between the entries of a comparison that is measured in one
# process: everything else decides what a step does for reasons of its own.
METHOD_ONLY = ('method', 'parent', 'comparison', 'work_dir')
# What does not depend on which methods are measured.
SHARED = ('iterations', 'flops', 'parameters', 'device', 'threads', 'torch',
          'precision')


class CostsError(RuntimeError):
    """Costs that cannot be measured."""


def kept_costs(plan: Plan) -> Optional[dict]:
    """What was measured of a plan's methods with just these settings; None
    if that was not measured yet of all of them."""
    kept = known_costs(plan)
    return None if _missing(plan, kept) or not kept['medians'] else kept


def cost_fields(medians: Dict[str, float] = {},
                totals: Dict[str, list] = {},
                iterations: Number = 1,
                flops: Optional[float] = None,
                settings: str = '',
                methods: Dict[str, str] = {}) -> None:
    """What is kept of what ``mmhkt benchmark`` writes down, the settings that
    it was measured with, and the methods."""


def measure_costs(plan: Plan, environment: dict) -> None:
    """Measure by ``mmhkt benchmark`` what :func:`kept_costs` does not have.

    What is there stays, so that what was decided by it does: further methods
    are measured beside the reference and put in relation to it.

    Args:
        plan (Plan): The comparison.
        environment (dict): Its environment variables.

    Raises:
        CostsError: If that is not possible; says why.
    """
    kept = known_costs(plan)
    missing = _missing(plan, kept)
    if not missing:
        return
    base = next((e for e in plan.entries if e.name == plan.reference),
                plan.entries[0])
    before = kept['medians'].get(base.name)
    if before is None:  # there is nothing that it can be put in relation to
        kept = dict(medians={}, totals={}, methods={})
        measured = missing = list(plan.entries)
    else:
        measured = [base, *missing]
    new = _benchmark(_config(plan, measured), environment)
    scale = before / new['medians'][base.name] if before else 1.0
    for entry in missing:
        kept['medians'][entry.name] = scale * new['medians'][entry.name]
        kept['totals'][entry.name] = [[
            length, scale * seconds
        ] for length, seconds in new['totals'][entry.name]]
        kept['methods'][entry.name] = _text(entry)
    kept['settings'] = _settings(base)
    kept.update({key: new[key] for key in SHARED if key in new})
    write_text(_file(plan), json.dumps(kept, indent=2))


def seconds_of(costs: dict, name: str, length: int) -> float:
    """How long a training takes, by what was measured.

    Args:
        costs (dict): See :func:`kept_costs`.
        name (str): Of an entry.
        length (int): Of the training, in what its config counts.
    """
    lengths, seconds = zip(*costs['totals'][name.removesuffix(EQUAL)])
    if length > lengths[-1]:
        return seconds[-1] * length / lengths[-1]
    return float(np.interp(length, lengths, seconds))


def length_for(costs: dict, name: str, seconds: float) -> float:
    """How long an entry is trained in that time; :func:`seconds_of`
    backwards."""
    lengths, totals = zip(*costs['totals'][name.removesuffix(EQUAL)])
    if seconds > totals[-1]:
        return lengths[-1] * seconds / totals[-1]
    return float(np.interp(seconds, totals, lengths))


def costs_of(costs: dict, plan: Plan) -> dict:
    """What was measured, over trainings as long as those of a plan, and also
    of its rows of equal cost.

    Args:
        costs (dict): See :func:`known_costs`.
        plan (Plan): Of one length of training.
    """
    medians = {}
    for entry in plan.entries:
        name = entry.name.removesuffix(EQUAL)
        if name in costs['totals']:
            length, _ = length_of(entry.cfg)
            medians[entry.name] = seconds_of(costs, name, length) / (
                length * costs['iterations'])
    return {**costs, 'medians': medians}


def known_costs(plan: Plan) -> dict:
    """What was measured with a plan's settings, of some of its methods or of
    all, but for methods that have changed."""
    kept = read_json(_file(plan), cost_fields) or {}
    if kept.get('settings') != _settings(plan.entries[0]):
        return dict(medians={}, totals={}, methods={})
    methods = kept['methods']
    changed = {e.name for e in plan.entries if methods.get(e.name) != _text(e)}
    return {
        **kept,
        **{
            key: {
                k: v
                for k, v in kept[key].items() if k not in changed
            }
            for key in ('medians', 'totals', 'methods')
        }
    }


def _missing(plan: Plan, kept: dict) -> List[Entry]:
    return [e for e in plan.entries if e.name not in kept['medians']]


def _file(plan: Plan) -> Path:
    return plan.folder / COSTS


def _text(entry: Entry) -> str:
    """What a step does, beside what all entries have in common."""
    parent = plain(entry.cfg.get('parent') or {})
    parent.pop('cache', None)
    return json.dumps([plain(entry.cfg.get('method')), parent], default=str)


def _settings(entry: Entry) -> str:
    """What all entries have to have in common, as a hash."""
    common = {
        k: v
        for k, v in plain(entry.cfg).items() if k not in METHOD_ONLY
    }
    text = json.dumps(common, default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _config(plan: Plan, entries: Sequence[Entry]) -> Config:
    """One config with some methods of the plan."""
    several = set(map(_settings, plan.entries))
    cfgs = [entry.cfg for entry in plan.entries]
    parents = [plain(cfg.parent) for cfg in cfgs if cfg.get('parent')]
    if len(several) > 1 or any(one != parents[0] for one in parents):
        raise CostsError('the configs differ in more than their methods')
    cfg = Config(
        next((one for one in cfgs if one.get('parent')), cfgs[0]).to_dict())
    cfg.pop('work_dir', None)
    if cfg.get('parent'):
        cfg.parent.pop('cache', None)
    # Which of them is the reference makes no step faster.
    cfg.comparison = dict(
        methods={entry.name: entry.cfg.method
                 for entry in entries})
    return cfg


def _benchmark(cfg: Config, environment: dict) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        config, result = Path(folder, 'costs.py'), Path(folder, 'costs.json')
        config.write_text(cfg.pretty_text)
        command = [
            sys.executable, '-m', 'mmhkt', 'benchmark', config, '--iters',
            ROUNDS, '--json', result
        ]
        done = subprocess.run(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            env=environment,
            capture_output=True,
            text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ['no message']
            raise CostsError(lines[-1])
        return json.loads(result.read_text())
