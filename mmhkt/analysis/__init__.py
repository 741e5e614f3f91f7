# Copyright (c) mmhkt authors. All rights reserved.
"""What a child got from its parent."""
from .attribution import attributions
from .changes import accuracy_by_class, calibration, won_and_lost
from .observe import Observation, observe
from .representation import ExplainedVariance, MinibatchCKA

__all__ = [
    'ExplainedVariance', 'MinibatchCKA', 'Observation', 'accuracy_by_class',
    'attributions', 'calibration', 'observe', 'won_and_lost'
]
