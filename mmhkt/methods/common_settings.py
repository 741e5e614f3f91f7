# Copyright (c) mmhkt authors. All rights reserved.
"""Settings that all methods have."""
from typing import Annotated, Literal, Optional, Sequence, Union

from annotated_types import MinLen

from mmhkt.registry import MODELS
from mmhkt.utils.settings import Name, nested
from .schedule import Schedule


def pair(child: Name, parent: Name) -> None:
    """The settings of one site: paths of modules."""


Site = nested(
    lambda _: pair, "dict(child='path', parent='path')", what='a site')
Sites = Optional[Union[Name, Annotated[Sequence[Site], MinLen(1)]]]
Schedules = Optional[Sequence[nested(
    lambda _: Schedule, 'dict(knob=..., ...)', what='a schedule')]]
Sees = Optional[Literal['own', 'mixture']]


def _genetic_attention(settings: dict) -> type:
    # One of the user's own may stand in its place.
    kind = settings.get('type', 'mmhkt.GeneticAttention')
    return MODELS.get(kind) if isinstance(kind, str) else kind


Attention = Optional[nested(
    _genetic_attention, "dict(mode='gate', ...)", partial=True)]
