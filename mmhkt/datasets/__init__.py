# Copyright (c) mmhkt authors. All rights reserved.
from .array_dataset import ArrayDataset
from .digits import Digits
from .seeded import SeededDataset, SeededSampler

__all__ = ['ArrayDataset', 'Digits', 'SeededDataset', 'SeededSampler']
