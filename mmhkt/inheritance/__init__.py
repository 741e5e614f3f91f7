# Copyright (c) mmhkt authors. All rights reserved.
from .bound import bound_gradients
from .checkpointing import watched_checkpoints
from .classes import Classes
from .dissection import Dissection
from .extraction import Extraction
from .feature_cache import FeatureCache
from .genetic_attention import GeneticAttention
from .known_gradient import KnownGradient
from .layout import Layout
from .mixture import Mixture
from .precision import Precision
from .regression import Regression
from .sites import EVERY_STAGE, PRESETS, Site, find_sites
from .stage_pairs import QUARTERS, left_out, pair_stages
from .stages import Stage, Trunk
from .tape import Mixer
from .transfer import Transfer

__all__ = [
    'Classes', 'Dissection', 'EVERY_STAGE', 'Extraction', 'FeatureCache',
    'GeneticAttention', 'KnownGradient', 'Layout', 'Mixer', 'Mixture',
    'PRESETS', 'Precision', 'QUARTERS', 'Regression', 'Site', 'Stage',
    'Transfer', 'Trunk', 'bound_gradients', 'find_sites', 'left_out',
    'pair_stages', 'watched_checkpoints'
]
