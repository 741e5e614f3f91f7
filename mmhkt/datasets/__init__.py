# Copyright (c) mmhkt authors. All rights reserved.
from .array_dataset import ArrayDataset
from .checked import CheckedDataset
from .digits import Digits
from .flow import *  # noqa: F401,F403
from .lits import LiTSDataset, LoadSlices
from .mni152 import MNI152, LoadSliceArrays
from .seeded import SeededDataset, SeededSampler

__all__ = [
    'ArrayDataset', 'CheckedDataset', 'Digits', 'LiTSDataset',
    'LoadSliceArrays', 'LoadSlices', 'MNI152', 'SeededDataset', 'SeededSampler'
]
