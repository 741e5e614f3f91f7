# Copyright (c) mmhkt authors. All rights reserved.
from .alone import Alone
from .at import AT
from .base import Method
from .cc import CC
from .crd import CRD
from .cwd import CWD
from .dist import DIST
from .distiller import Distiller, LogitDistiller, PooledDistiller
from .dkd import DKD
from .fitnet import FitNet
from .flow_imitation import FlowImitation
from .gated_hkt import GatedHKT
from .hkt import HKT
from .kd import KD
from .lepoket import LePoKet
from .mgd import MGD
from .nst import NST
from .ofd import OFD
from .pkt import PKT
from .reviewkd import ReviewKD
from .rkd import RKD
from .schedule import Schedule
from .sp import SP
from .step import Step
from .vid import VID

__all__ = [
    'AT', 'Alone', 'CC', 'CRD', 'CWD', 'DIST', 'DKD', 'Distiller', 'FitNet',
    'FlowImitation', 'GatedHKT', 'HKT', 'KD', 'LePoKet', 'LogitDistiller',
    'MGD', 'Method', 'NST', 'OFD', 'PKT', 'PooledDistiller', 'RKD', 'ReviewKD',
    'SP', 'Schedule', 'Step', 'VID'
]
