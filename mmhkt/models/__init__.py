# Copyright (c) mmhkt authors. All rights reserved.
from .backbones import *  # noqa: F401,F403
from .build import build_network
from .feature_network import FeatureNetwork
from .flow import *  # noqa: F401,F403
from .folding import fold_norms
from .image_format import ImageFormat, channel_order_of
from .inheritance import Inheritance
from .parent import Parent, Renormalise
from .plain_classifier import PlainClassifier
from .tasks import task_of

__all__ = [
    'FeatureNetwork', 'ImageFormat', 'Inheritance', 'Parent',
    'PlainClassifier', 'Renormalise', 'build_network', 'channel_order_of',
    'fold_norms', 'task_of'
]
