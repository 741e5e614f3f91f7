# Copyright (c) mmhkt authors. All rights reserved.
from .array_dataset import ArrayDataset
from .batched import BatchedLoader
from .digits import Digits
from .flow import *  # noqa: F401,F403
from .lits import LiTSDataset, LoadSlices
from .mni152 import MNI152, LoadSliceArrays
from .sample_loader import SampleLoader

__all__ = [
    'ArrayDataset', 'BatchedLoader', 'Digits', 'LiTSDataset',
    'LoadSliceArrays', 'LoadSlices', 'MNI152', 'SampleLoader'
]
