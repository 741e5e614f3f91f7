# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import suppress
from importlib import import_module
from typing import Any, Iterator, Set

from mmengine.registry import Registry


def check_registered(cfg: Any, source: str) -> None:
    """Refuse a config that builds anything but what is registered.

    A registry of mmengine imports and calls whatever a ``type`` names,
    ``'subprocess.check_output'`` too: plain values can run any code.

    Args:
        cfg (Any): A config, or a part of one, from a file that is not
            trusted. Nothing of it has been built yet.
        source (str): What errors call it.

    Raises:
        ValueError: If a ``type`` is not registered; names it, where it
            stands.
    """
    known = set().union(*map(_names, _registries()))
    for path, name in _types(cfg, ''):
        if not isinstance(name, str) or name not in known:
            raise ValueError(
                f'{source} would have {name!r} called ({path}), which is '
                'registered nowhere; give --config, or --trusted if you trust '
                'its author.')


def _registries() -> Iterator[Registry]:
    for package in ('mmengine', 'mmhkt', 'mmpretrain', 'mmseg'):
        with suppress(ImportError):  # mmseg is optional
            for value in vars(import_module(f'{package}.registry')).values():
                if isinstance(value, Registry):
                    yield value


def _names(registry: Registry) -> Set[str]:
    """What is registered there, with and without its scope."""
    registry.import_from_location()
    return {
        spelling
        for name in registry.module_dict
        for spelling in (name, f'{registry.scope}.{name}')
    }


def _types(node: Any, path: str) -> Iterator[tuple]:
    if isinstance(node, dict):
        for key, value in node.items():
            below = f'{path}.{key}' if path else str(key)
            if key == 'type':
                yield below, value
            yield from _types(value, below)
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from _types(value, f'{path}[{i}]')


def found_in(registry: Registry, name: Any) -> Any:
    """What a config's ``type`` means.

    Args:
        registry (Registry): Where it is looked up.
        name (Any): A name, or a class itself.

    Returns:
        Any: None if it is neither.
    """
    if callable(name):
        return name
    if not isinstance(name, str):
        return None
    try:
        return registry.get(name)
    except Exception:  # whatever comes of importing what is no module
        return None
