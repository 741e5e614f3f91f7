# Copyright (c) mmhkt authors. All rights reserved.
from .end_point_error import EndPointError
from .image_sums import IMAGES, ImageScores, ImageSums, image_scores
from .volume_dice import VolumeDice

__all__ = [
    'EndPointError', 'IMAGES', 'ImageScores', 'ImageSums', 'VolumeDice',
    'image_scores'
]
