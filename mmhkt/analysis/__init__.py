# Copyright (c) mmhkt authors. All rights reserved.
"""What a child got from its parent."""
from .changes import accuracy_by_class, calibration, won_and_lost
from .representation import ExplainedVariance, MinibatchCKA

__all__ = [
    'ExplainedVariance', 'MinibatchCKA', 'accuracy_by_class', 'calibration',
    'won_and_lost'
]
