# Copyright (c) mmhkt authors. All rights reserved.
from .loader import BatchedLoader
from .transforms import BATCHED, BatchedTransform

__all__ = ['BATCHED', 'BatchedLoader', 'BatchedTransform']
