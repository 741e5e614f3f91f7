# Copyright (c) mmhkt authors. All rights reserved.
from .data_preprocessor import FlowDataPreprocessor
from .raft import RAFT
from .sequence_loss import SequenceLoss
from .torchvision_raft import build_raft
from .warm_start import carry_forward

__all__ = [
    'FlowDataPreprocessor', 'RAFT', 'SequenceLoss', 'build_raft',
    'carry_forward'
]
