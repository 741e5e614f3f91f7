# Copyright (c) mmhkt authors. All rights reserved.
from .dissection import Dissection
from .extraction import Extraction, Mixer
from .feature_cache import FeatureCache
from .genetic_attention import GeneticAttention
from .layout import Layout
from .mixture import Mixture
from .sites import PRESETS, Site, find_sites
from .transfer import Transfer

__all__ = [
    'Dissection', 'Extraction', 'FeatureCache', 'GeneticAttention', 'Layout',
    'Mixer', 'Mixture', 'PRESETS', 'Site', 'Transfer', 'find_sites'
]
