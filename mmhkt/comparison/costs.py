# Copyright (c) mmhkt authors. All rights reserved.
"""What each method of a comparison costs a training step."""
import subprocess
import sys
from pathlib import Path
from typing import Dict, Optional, Tuple

from mmengine.config import Config

from mmhkt.utils.config import plain
from mmhkt.utils.files import read_json, write_text
from .plan import Plan

ROUNDS = 15
# What may differ between the entries of a comparison that is measured in one
# process: everything else decides what a step does for reasons of its own.
METHOD_ONLY = ('method', 'parent', 'comparison', 'work_dir')


class CostsError(RuntimeError):
    """Costs that cannot be measured."""


def kept_costs(plan: Plan) -> Optional[dict]:
    """What was measured of just these methods with just these settings; None
    if that was not measured yet."""
    config, result = _files(plan)
    text = _config(plan)
    if (text and result.exists() and config.exists()
            and config.read_text() == text):
        return read_json(result, cost_fields)
    return None


def cost_fields(medians: Dict[str, float] = {},
                flops: Optional[float] = None) -> None:
    """What ``mmhkt benchmark`` writes down."""


def measure_costs(plan: Plan, environment: dict) -> None:
    """Measure by ``mmhkt benchmark``, unless :func:`kept_costs` has it.

    Args:
        plan (Plan): The comparison.
        environment (dict): Its environment variables.

    Raises:
        CostsError: If that is not possible; says why.
    """
    if kept_costs(plan) is not None:
        return
    config, result = _files(plan)
    text = _config(plan)
    if text is None:
        raise CostsError('the configs differ in more than their methods')
    result.unlink(missing_ok=True)
    write_text(config, text)
    command = [
        sys.executable, '-m', 'mmhkt', 'benchmark', config, '--iters', ROUNDS,
        '--json', result
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


def _files(plan: Plan) -> Tuple[Path, Path]:
    return plan.folder / 'costs.py', plan.folder / 'costs.json'


def _config(plan: Plan) -> Optional[str]:
    """One config with all methods of the plan, if that is where they
    differ."""
    cfgs = [entry.cfg for entry in plan.entries]
    common = [{
        k: v
        for k, v in plain(cfg).items() if k not in METHOD_ONLY
    } for cfg in cfgs]
    parents = [cfg for cfg in cfgs if cfg.get('parent')]
    if any(one != common[0] for one in common[1:]) or any(
            plain(one.parent) != plain(parents[0].parent) for one in parents):
        return None
    cfg = Config((parents or cfgs)[0].to_dict())
    cfg.pop('work_dir', None)
    if cfg.get('parent'):
        cfg.parent.pop('cache', None)
    # Which of them is the reference makes no step faster.
    cfg.comparison = dict(
        methods={entry.name: entry.cfg.method
                 for entry in plan.entries})
    return cfg.pretty_text
