# Copyright (c) mmhkt authors. All rights reserved.
from .alone import Alone
from .base import Method
from .hkt import HKT
from .lepoket import LePoKet
from .step import Step

__all__ = ['Alone', 'HKT', 'LePoKet', 'Method', 'Step']
