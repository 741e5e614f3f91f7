# Copyright (c) mmhkt authors. All rights reserved.
"""What the folder of a run tells about it."""
import json
import math
from pathlib import Path
from typing import List, Optional

from . import lock

# Why a run failed; it is deleted when the run is started again.
FAILURE = 'failed.txt'


def read_record(folder: Path) -> dict:
    """What :class:`mmhkt.hooks.RecordHook` has written; {} before it has."""
    try:
        return json.loads(Path(folder, 'record.json').read_text())
    except FileNotFoundError:
        return {}


def state_of(folder: Path, record: Optional[dict] = None) -> str:
    """``'finished'``, ``'diverged'``, ``'running'``, ``'failed'`` or
    ``'waiting'``.

    A run that was cut off is waiting: it can be resumed. One that came to its
    end with weights or last scores that are not finite has diverged.
    """
    record = read_record(folder) if record is None else record
    if record.get('finished'):
        return 'finished' if _is_finite(record) else 'diverged'
    if lock.is_locked(folder):
        return 'running'
    return 'failed' if Path(folder, FAILURE).exists() else 'waiting'


def _is_finite(record: dict) -> bool:
    scores = record.get('validations') or {}
    last = scores[max(scores, key=int)] if scores else {}
    # Of a class that no image has, say, the score is none: one is enough.
    return record.get('finite', True) and (not last or any(
        map(math.isfinite, last.values())))


def error_of(folder: Path) -> Optional[str]:
    """Why a run has failed, in one line."""
    path = Path(folder, FAILURE)
    return path.read_text().strip() if path.exists() else None


def progress_of(record: dict) -> float:
    """How much of a run is done, from 0 to 1."""
    if record.get('finished'):
        return 1.0
    return record.get('iter', 0) / max(1, record.get('max_iters', 1))


def curve_of(record: dict, metric: str) -> List[list]:
    """The score of every validation, ``[[step, value], ...]``."""
    scores = record.get('validations', {})
    return [[int(step), scores[step][metric]]
            for step in sorted(scores, key=int) if metric in scores[step]]
