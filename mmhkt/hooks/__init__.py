# Copyright (c) mmhkt authors. All rights reserved.
from .examples_hook import ExamplesHook
from .extraction_hook import ExtractionHook
from .flow_visualization_hook import FlowVisualizationHook
from .mixture_hook import MixtureHook
from .record_hook import RecordHook
from .schedule import Schedule
from .transfer_hook import TransferHook

__all__ = [
    'ExamplesHook', 'ExtractionHook', 'FlowVisualizationHook', 'MixtureHook',
    'RecordHook', 'Schedule', 'TransferHook'
]
