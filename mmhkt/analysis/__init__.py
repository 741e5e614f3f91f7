# Copyright (c) mmhkt authors. All rights reserved.
"""What a child got from its parent."""
from .attribution import attributions
from .changes import (accuracy_by_class, better_and_worse, calibration,
                      score_by_part, won_and_lost)
from .observe import Observation, observe
from .order import Order, shuffled
from .representation import ExplainedVariance, MinibatchCKA

__all__ = [
    'ExplainedVariance', 'MinibatchCKA', 'Observation', 'Order',
    'accuracy_by_class', 'attributions', 'better_and_worse', 'calibration',
    'observe', 'score_by_part', 'shuffled', 'won_and_lost'
]
