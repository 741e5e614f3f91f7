# Copyright (c) mmhkt authors. All rights reserved.
"""What the folder of a run tells about it."""
import math
from pathlib import Path
from typing import Annotated, Dict, List, Literal, Optional

from pydantic import StringConstraints

from mmhkt.utils import lock
from mmhkt.utils.files import read_json
from mmhkt.utils.settings import Described, settings_of

# Why a run failed; it is deleted when the run is started again.
FAILURE = 'failed.txt'

# Of a step: JSON has no other keys.
Digits = Annotated[str,
                   StringConstraints(pattern=r'^\d{1,18}$'),
                   Described('a whole number as text')]


def read_record(folder: Path) -> dict:
    """What :class:`mmhkt.hooks.RecordHook` has written; {} before it has."""
    content = read_json(Path(folder, 'record.json'), record_fields)
    # Of an older version some may be missing.
    return {} if content is None else {**DEFAULTS, **content}


def record_fields(finished: bool = False,
                  finite: bool = True,
                  diverged: Optional[str] = None,
                  skipped: int = 0,
                  initial_weights: Optional[str] = None,
                  parent_weights: Optional[str] = None,
                  batches: Dict[Digits, str] = {},
                  validations: Dict[Digits, Dict[str, float]] = {},
                  training: Dict[str, list] = {},
                  parent_scores: Optional[Dict[str, float]] = None,
                  unit: Literal['epoch', 'iter'] = 'epoch',
                  iter: int = 0,
                  max_iters: int = 1,
                  step: Optional[float] = None,
                  mean_step: Optional[float] = None,
                  peak_memory: Optional[int] = None,
                  parameters: Optional[int] = None,
                  extra_parameters: Optional[int] = None,
                  setup: dict = {}) -> None:
    """What a record is made of."""


DEFAULTS = {
    name: setting.default
    for name, setting in settings_of(record_fields).items()
    if name != 'setup'  # without it nothing is said
}


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
    if record.get('diverged'):
        return 'diverged'
    return 'failed' if Path(folder, FAILURE).exists() else 'waiting'


def is_finished(folder: Path) -> bool:
    """Whether a run has come to its end."""
    return bool(read_record(folder).get('finished'))


def _is_finite(record: dict) -> bool:
    scores = record.get('validations') or {}
    last = scores[max(scores, key=int)] if scores else {}
    # Of a class that no image has, say, the score is none: one is enough.
    return record.get('finite', True) and (not last or any(
        map(math.isfinite, last.values())))


def error_of(folder: Path) -> Optional[str]:
    """Why a run has failed, in one line."""
    path = Path(folder, FAILURE)
    if not path.exists():
        return None
    return path.read_text(errors='replace').strip()


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
