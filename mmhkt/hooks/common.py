# Copyright (c) mmhkt authors. All rights reserved.
from typing import Optional

from mmengine.model import is_model_wrapper

from mmhkt.models import HereditaryModel


def hereditary(runner) -> Optional[HereditaryModel]:
    """The model of a run that inherits, None of any other (testing, say)."""
    model = runner.model
    if is_model_wrapper(model):
        model = model.module
    return model if isinstance(model, HereditaryModel) else None
