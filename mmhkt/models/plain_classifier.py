# Copyright (c) mmhkt authors. All rights reserved.
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Callable, Optional, Union

import torch.nn.functional as F
from mmengine.registry import DefaultScope
from mmpretrain.models import BaseClassifier, TimmClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmhkt.registry import MODELS


@MODELS.register_module()
class PlainClassifier(TimmClassifier):
    """Any network from images to logits as a classifier of OpenMMLab's.

    As mmpretrain's ``TimmClassifier`` does for networks of timm, and with its
    losses, predictions and keys: its ``state_dict`` is that of the network.

    Args:
        model (nn.Module | dict): The network, (B, C, H, W) to (B, classes);
            or a dict whose ``type`` is the dotted name of what makes it, with
            its arguments.
        loss (Callable | dict): Of logits and labels. Defaults to mmpretrain's
            ``CrossEntropyLoss``. With a binary cross entropy (torch's, or
            mmpretrain's by ``use_sigmoid=True``) an image may be of several
            classes, and each score is a probability of its own.
        data_preprocessor (dict, optional): Defaults to None, mmpretrain's
            ``ClsDataPreprocessor`` without normalisation.
        init_cfg (dict, optional): Of initial weights. Defaults to None, those
            that the network comes with.

    Examples:
        >>> model = dict(
        ...     type='mmhkt.PlainClassifier',
        ...     model=dict(type='torchvision.models.resnet18', num_classes=4))
    """

    def __init__(self,
                 model: Union[nn.Module, dict],
                 loss: Union[Callable, dict] = dict(type='CrossEntropyLoss'),
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[dict] = None):
        preprocessor = dict(data_preprocessor or {})
        preprocessor.setdefault('type', 'mmpretrain.ClsDataPreprocessor')
        # Not TimmClassifier's, which makes a network of timm.
        BaseClassifier.__init__(
            self, init_cfg=init_cfg, data_preprocessor=preprocessor)
        self.model = made(model) if isinstance(model, dict) else model
        if isinstance(loss, dict):
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                loss = MMPRETRAIN_MODELS.build(loss)
        self.loss_module = loss
        # Not TimmClassifier's, which take away less than they put back where
        # the classifier is a part of something else.
        self.register_state_dict_post_hook(_without_model)
        self.register_load_state_dict_pre_hook(_with_model)

    @property
    def binary(self) -> bool:
        """Whether each class is a question of its own."""
        loss = getattr(self.loss_module, 'func', self.loss_module)  # a partial
        return (loss is F.binary_cross_entropy_with_logits
                or isinstance(loss, nn.BCEWithLogitsLoss)
                or bool(getattr(loss, 'use_sigmoid', False)))

    def _get_predictions(self,
                         logits: Tensor,
                         data_samples: Optional[list] = None) -> list:
        if not self.binary:
            return super()._get_predictions(logits, data_samples)
        samples = data_samples or [DataSample() for _ in logits]
        for sample, scores in zip(samples, logits.sigmoid()):
            sample.set_pred_score(scores)
            sample.set_pred_label((scores >= 0.5).nonzero().flatten())
        return samples

    def forward(self,
                inputs: Tensor,
                data_samples: Optional[list] = None,
                mode: str = 'tensor') -> Any:
        """As of any classifier; networks that return more than their logits
        name them, as an attribute (those of HuggingFace, named tuples) or in
        a dict."""
        logits = self.model(inputs)
        if isinstance(logits, Mapping):
            logits = logits.get('logits', logits)
        logits = getattr(logits, 'logits', logits)
        if mode == 'loss':
            return self._get_loss(logits, data_samples)
        if mode == 'predict':
            return self._get_predictions(logits, data_samples)
        return logits


def made(cfg: dict) -> nn.Module:
    """What ``type``, a dotted name or what it names, makes of the rest."""
    settings = {k: v for k, v in cfg.items() if k != '_scope_'}
    name = settings.pop('type')
    if not isinstance(name, str):
        return name(**settings)
    module, _, attribute = name.rpartition('.')
    try:
        make = getattr(import_module(module), attribute)
    except (AttributeError, ImportError, ValueError) as error:
        raise ValueError(f'PlainClassifier: there is no "{name}" to make a '
                         f'network ({error}).') from None
    if not callable(make):
        raise ValueError(f'PlainClassifier: "{name}" makes no network.')
    return make(**settings)


def _without_model(classifier: nn.Module, state: dict, prefix: str, _) -> None:
    """The keys of the network, as it has them itself."""
    for key in list(state):
        value = state.pop(key)  # all, so that their order stays
        if key.startswith(f'{prefix}model.'):
            key = prefix + key[len(f'{prefix}model.'):]
        state[key] = value


def _with_model(classifier: nn.Module, state: dict, prefix: str,
                *unused) -> None:
    """The reverse; what else the classifier has is not the network's."""
    others = tuple(f'{prefix}{name}.'
                   for name, _ in classifier.named_children()
                   if name != 'model')
    for key in list(state):
        value = state.pop(key)
        if key.startswith(prefix) and not key.startswith(others):
            key = f'{prefix}model.{key[len(prefix):]}'
        state[key] = value
