# Copyright (c) mmhkt authors. All rights reserved.
from .end_point_error import EndPointError
from .volume_dice import VolumeDice

__all__ = ['EndPointError', 'VolumeDice']
