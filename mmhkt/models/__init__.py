# Copyright (c) mmhkt authors. All rights reserved.
from .backbones import *  # noqa: F401,F403
from .build import build_network
from .flow import *  # noqa: F401,F403
from .inheritance import Inheritance
from .parent import Parent, Renormalise, channel_order_of
from .plain_classifier import PlainClassifier
from .tasks import task_of

__all__ = [
    'Inheritance', 'Parent', 'PlainClassifier', 'Renormalise', 'build_network',
    'channel_order_of', 'task_of'
]
