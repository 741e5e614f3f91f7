# Copyright (c) mmhkt authors. All rights reserved.
from .bound import bound_gradients
from .checkpointing import watched_checkpoints
from .dissection import Dissection
from .extraction import Extraction
from .feature_cache import FeatureCache
from .genetic_attention import GeneticAttention
from .known_gradient import KnownGradient
from .layout import Layout
from .mixture import Mixture
from .regression import Regression
from .sites import PRESETS, Site, find_sites
from .tape import Mixer
from .transfer import Transfer

__all__ = [
    'Dissection', 'Extraction', 'FeatureCache', 'GeneticAttention',
    'KnownGradient', 'Layout', 'Mixer', 'Mixture', 'PRESETS', 'Regression',
    'Site', 'Transfer', 'bound_gradients', 'find_sites', 'watched_checkpoints'
]
