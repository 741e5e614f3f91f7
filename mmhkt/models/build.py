# Copyright (c) mmhkt authors. All rights reserved.
import copy

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn


def build_network(cfg: Config) -> nn.Module:
    """Build a config's network, as its own Runner would.

    Args:
        cfg (Config): With ``model`` and, optionally, ``data_preprocessor``
            and ``default_scope``.

    Returns:
        nn.Module: The network, with random weights.
    """
    # Some networks change the config that they are built from.
    model = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        return MODELS.build(model)
