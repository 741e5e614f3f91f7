# Copyright (c) mmhkt authors. All rights reserved.
from .flow_colours import colour_error, colour_flow, largest_speed
from .flow_local_visualizer import FlowLocalVisualizer

__all__ = [
    'FlowLocalVisualizer', 'colour_error', 'colour_flow', 'largest_speed'
]
