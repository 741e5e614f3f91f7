# Copyright (c) mmhkt authors. All rights reserved.
import math
from dataclasses import dataclass
from typing import Annotated, Literal, Optional, Sequence

from annotated_types import Gt, Le, MinLen

from mmhkt.utils import one_of
from mmhkt.utils.settings import Name, NotNegative, Number, check


@dataclass
class Schedule:
    """How a knob of a method moves while training.

    Attributes:
        knob (str): ``'intensity'`` or ``'weights.<term>'``.
        rule (str): ``'constant'`` (``start`` throughout), ``'linear'`` or
            ``'cosine'``. Defaults to ``'linear'``.
        start (float): Fraction of the configured value at ``begin`` and, by
            the first of a knob's schedules, before, but not of a
            ``'constant'``, before which there is the whole. Defaults to 1.
        stop (float): Fraction from ``end`` on. Defaults to 0.
        begin (float): Defaults to 0.
        end (float, optional): Defaults to None, the end of the run.
        unit (str): In what ``begin`` and ``end`` count: ``'run'`` (0 to 1),
            ``'epoch'`` or ``'iter'``. Defaults to ``'run'``.
        sites (Sequence[int], optional): Of which sites, by their number in
            the pairing table, from the end where it is negative; of knobs
            that belong to a site. Defaults to None, all.
        least_iters (int): Iterations from ``begin`` to ``end`` at least: what
            takes a number of steps needs a larger part of a short run.
            Defaults to 0.
        latest (float): Fraction of the run by which ``end`` is reached even
            so. Defaults to 1.

    Of several schedules of one knob the last that has begun holds, so that a
    warm-up followed by weaning is two of them; sites that begin one after
    another make a transfer of several stages.
    """
    knob: Name
    rule: Literal['constant', 'linear', 'cosine'] = 'linear'
    start: NotNegative = 1.0
    stop: NotNegative = 0.0
    begin: NotNegative = 0.0
    end: Optional[NotNegative] = None
    unit: Literal['run', 'epoch', 'iter'] = 'run'
    sites: Optional[Annotated[Sequence[int], MinLen(1)]] = None
    least_iters: Number = 0
    latest: Annotated[float, Gt(0), Le(1)] = 1.0

    @classmethod
    def from_cfg(cls,
                 cfg: dict,
                 knobs: Sequence[str],
                 method: str,
                 site_knobs: Sequence[str] = ()) -> 'Schedule':
        """Build and check.

        Args:
            cfg (dict): The attributes.
            knobs (Sequence[str]): What the method lets be turned.
            method (str): Its name, for errors.
            site_knobs (Sequence[str]): Those that belong to a site. Defaults
                to none.

        Raises:
            ValueError: If a setting is unknown or impossible.
        """
        if 'knob' not in cfg:
            raise ValueError(f'A schedule of {method} names no knob; '
                             f'valid: {", ".join(knobs)}.')
        check(cls, cfg, f'A schedule of {method}')
        one_of(f'The knob of a schedule of {method},', cfg['knob'], knobs)
        schedule = cls(**cfg)
        if schedule.sites is not None and schedule.knob not in site_knobs:
            raise ValueError(
                f'A schedule of {method} turns "{schedule.knob}" for some '
                'sites, but what belongs to a site is only '
                f'{", ".join(site_knobs) or "nothing"}.')
        if schedule.end is not None and schedule.end < schedule.begin:
            raise ValueError(f'A schedule of {method} ends at {schedule.end}, '
                             f'before it begins at {schedule.begin}.')
        if schedule.unit == 'run' and not 0 <= schedule.begin <= (
                1 if schedule.end is None else schedule.end) <= 1:
            raise ValueError(
                f'A schedule of {method} counts in fractions of the run, 0 '
                f'to 1, but got begin={schedule.begin}, end={schedule.end}; '
                "unit='epoch' or 'iter' counts otherwise.")
        return schedule

    def begins(self, max_iters: int, iters_per_epoch: int) -> float:
        """The iteration of ``begin``."""
        return self.begin * self._scale(max_iters, iters_per_epoch)

    def _scale(self, max_iters: int, iters_per_epoch: int) -> int:
        return dict(run=max_iters, epoch=iters_per_epoch, iter=1)[self.unit]

    def factor(self, iteration: int, max_iters: int,
               iters_per_epoch: int) -> Optional[float]:
        """The fraction in force in an iteration.

        Args:
            iteration, max_iters, iters_per_epoch (int): See
                :func:`mmhkt.hooks.transfer_hook.place`.

        Returns:
            float | None: None before ``begin``.
        """
        begin = self.begins(max_iters, iters_per_epoch)
        end = max_iters if self.end is None else (
            self.end * self._scale(max_iters, iters_per_epoch))
        if end < begin + self.least_iters:
            # Neither earlier than it was to be.
            end = max(end,
                      min(begin + self.least_iters, self.latest * max_iters))
        if iteration < begin:
            return None
        if self.rule == 'constant':
            return self.start
        if iteration >= end:
            return self.stop
        done = (iteration - begin) / (end - begin)
        if self.rule == 'cosine':
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.stop - self.start) * done
