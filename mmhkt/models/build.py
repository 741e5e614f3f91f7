# Copyright (c) mmhkt authors. All rights reserved.
import copy
from importlib.util import find_spec
from os.path import exists
from typing import Any, Iterator, Optional, Tuple

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, Registry
from torch import nn

from mmhkt.utils import nearest
from .plain_classifier import PlainClassifier
from .tasks import tasks


def build_network(cfg: Config) -> nn.Module:
    """Build a config's network, as its own Runner would.

    Args:
        cfg (Config): With ``model`` and, optionally, ``data_preprocessor``
            and ``default_scope``.

    Returns:
        nn.Module: The network, with random weights.

    Raises:
        FileNotFoundError: If it is made of weights that are not there.
        ImportError: If it needs a package that is not there.
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
        try:
            return MODELS.build(model)
        except FileNotFoundError as error:
            # Of some (LoRA) the file that they adapt is read at once.
            for path, file in _pretrained(cfg.model, 'model'):
                if not (exists(file) or '://' in file):
                    raise FileNotFoundError(
                        f'{path} is "{file}", which is no file; the network '
                        'is made of the weights in it.') from error
            raise
        except TypeError as error:
            # mmsegmentation makes it a class without arguments.
            if 'MaskFormerHead' in str(
                    cfg.model) and find_spec('mmdet') is None:
                raise ImportError('MaskFormerHead needs mmdetection (the '
                                  'package mmdet).') from error
            raise


def _pretrained(node: Any, path: str) -> Iterator[Tuple[str, str]]:
    """Where a config names files of weights to begin with, and which."""
    if isinstance(node, dict):
        if node.get('type') == 'Pretrained':
            yield f'{path}.checkpoint', str(node.get('checkpoint', ''))
        for key, value in node.items():
            yield from _pretrained(value, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from _pretrained(value, f'{path}[{i}]')


def as_network(network: nn.Module, **settings: Any) -> nn.Module:
    """A network of one of the tasks; any other one as a classifier.

    Args:
        network (nn.Module): Of OpenMMLab's, or from images to logits.
        **settings: Of :class:`PlainClassifier`, where it becomes one.
    """
    if any(task.owns(network) for task in tasks()):
        return network
    return PlainClassifier(network, **settings)


def is_zoo_name(config: str) -> bool:
    """Whether a text is no path or ``package::path`` of a config."""
    return '::' not in config and not config.endswith('.py')


def from_zoo(name: str) -> Tuple[Config, Optional[str]]:
    """Config and address of the weights of a model of mmpretrain's zoo.

    Args:
        name (str): As ``mmpretrain.list_models()`` lists it.

    Raises:
        ValueError: If there is none; names the nearest.
    """
    from mmpretrain import list_models
    from mmpretrain.apis.model import ModelHub
    if name not in list_models():
        raise ValueError(f'There is no model "{name}" in the zoo of '
                         f'mmpretrain; {nearest(name, list_models())}.')
    model = ModelHub.get(name)
    return model.config, model.weights
