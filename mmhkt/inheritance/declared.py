# Copyright (c) mmhkt authors. All rights reserved.
"""What networks of timm and HuggingFace say of their own stages."""
from dataclasses import dataclass
from typing import Any, Tuple

from torch import nn


@dataclass(frozen=True)
class Declared:
    """The stages that a network says it has.

    Attributes:
        sites (tuple[str]): Paths of the modules that return them: timm's
            ``feature_info``. HuggingFace names none.
        count (int): How many there are, 0 where nobody says: of a config of
            HuggingFace with ``stage_names`` or ``depths``.
    """
    sites: Tuple[str, ...] = ()
    count: int = 0


def declared(network: nn.Module) -> Declared:
    """What a network, or what it wraps, declares."""
    for path, module in network.named_modules():
        information = getattr(module, 'feature_info', None)
        if information is not None:
            return Declared(sites=_modules(path, module, information))
        if getattr(module, 'config', None) is not None:
            return Declared(count=_stages(module.config))
    return Declared()


def _modules(path: str, network: nn.Module, information: Any) -> tuple:
    if hasattr(information, 'get_dicts'):
        information = information.get_dicts()
    names = [
        item.get('module') for item in information if isinstance(item, dict)
    ] if isinstance(information, (list, tuple)) else []
    own = dict(network.named_modules())
    prefix = f'{path}.' if path else ''
    # Some name what is not there, or the whole network.
    return tuple(
        dict.fromkeys(f'{prefix}{name}' for name in names
                      if name and name in own))


def _stages(config: Any) -> int:
    names = getattr(config, 'stage_names', None)
    if not isinstance(names, (list, tuple)):
        names = getattr(config, 'depths', None)
    if not isinstance(names, (list, tuple)):
        return 0
    return sum(name != 'stem' for name in names)
