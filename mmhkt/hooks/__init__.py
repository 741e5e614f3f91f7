# Copyright (c) mmhkt authors. All rights reserved.
from .extraction_hook import ExtractionHook
from .mixture_hook import MixtureHook
from .record_hook import RecordHook
from .schedule import Schedule
from .transfer_hook import TransferHook

__all__ = [
    'ExtractionHook', 'MixtureHook', 'RecordHook', 'Schedule', 'TransferHook'
]
