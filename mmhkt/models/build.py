# Copyright (c) mmhkt authors. All rights reserved.
import copy

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, Registry
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
    scope = cfg.get('default_scope')
    if scope is None and isinstance(model.type, str):
        # What a network names without a scope is of its own package, not of
        # the one whose config happens to be in use.
        scope = Registry.split_scope_key(model.type)[0]
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(model)
