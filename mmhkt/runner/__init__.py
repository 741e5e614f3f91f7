# Copyright (c) mmhkt authors. All rights reserved.
from .inheritance_runner import InheritanceRunner
from .loops import InheritanceEpochLoop, InheritanceIterLoop
from .optim_wrapper import AutocastOptimWrapper

__all__ = [
    'AutocastOptimWrapper', 'InheritanceEpochLoop', 'InheritanceIterLoop',
    'InheritanceRunner'
]
