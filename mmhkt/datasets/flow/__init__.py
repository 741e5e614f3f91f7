# Copyright (c) mmhkt authors. All rights reserved.
from .flow_arrays import FlowArrays
from .packing import PackFlowInputs
from .pair import make_pair
from .photometric import FlowColorJitter, RandomFlowErase
from .spatial import RandomFlowCrop, RandomFlowFlip
from .synthetic_flow import SyntheticFlow
from .torchvision_flow import TorchvisionFlow
from .write_chairs import write_chairs

__all__ = [
    'FlowArrays', 'FlowColorJitter', 'PackFlowInputs', 'RandomFlowCrop',
    'RandomFlowErase', 'RandomFlowFlip', 'SyntheticFlow', 'TorchvisionFlow',
    'make_pair', 'write_chairs'
]
