# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Optional

from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import Tensor

from mmhkt.registry import MODELS


@MODELS.register_module()
class FeatureNetwork(BaseModel):
    """A backbone, and its neck, without a head: a parent of features only.

    What a parent becomes whose head is none that can be compared (of queries,
    for detection) and may need packages that are not there. Its features are
    those of the whole network, with the weights of the same names.

    Args:
        backbone (dict): Config of the backbone.
        neck (dict, optional): Of the neck. Defaults to None.
        data_preprocessor (dict, optional): Of the whole network.
    """

    def __init__(self,
                 backbone: dict,
                 neck: Optional[dict] = None,
                 data_preprocessor: Optional[dict] = None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.backbone = MMENGINE_MODELS.build(backbone)
        if neck is not None:
            self.neck = MMENGINE_MODELS.build(neck)

    def forward(self,
                inputs: Tensor,
                data_samples: Any = None,
                mode: str = 'tensor') -> Any:
        """The features; it has neither losses nor predictions."""
        if mode != 'tensor':
            raise ValueError('it has no head here, only features')
        features = self.backbone(inputs)
        return self.neck(features) if hasattr(self, 'neck') else features

    def own(self, weights: dict) -> dict:
        """Those weights of the whole network that belong to it."""
        parts = tuple(f'{name}.' for name in ('backbone', 'neck')
                      if hasattr(self, name))
        return {k: v for k, v in weights.items() if k.startswith(parts)}
