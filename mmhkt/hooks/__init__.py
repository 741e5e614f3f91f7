# Copyright (c) mmhkt authors. All rights reserved.
from .checkpoint_hook import SafeCheckpointHook
from .data_hook import DataHook
from .divergence_hook import DivergenceHook
from .examples_hook import ExamplesHook
from .extraction_hook import ExtractionHook
from .flow_visualization_hook import FlowVisualizationHook
from .mixture_hook import MixtureHook
from .record_hook import RecordHook
from .transfer_hook import TransferHook

__all__ = [
    'DataHook', 'DivergenceHook', 'ExamplesHook', 'ExtractionHook',
    'FlowVisualizationHook', 'MixtureHook', 'RecordHook', 'SafeCheckpointHook',
    'TransferHook'
]
