# Copyright (c) mmhkt authors. All rights reserved.
"""What the images are that reach a network: channels, order, normalisation."""
import re
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmhkt.utils import type_name

# (mean, standard deviation) of each channel, or one for all.
Normalisation = Tuple[Tensor, Tensor]

# Steps of pipelines that normalise, but none of those known below.
SUSPECT = r'(?i)normali[sz]|standardi[sz]|to_?tensor|to_?dtype|rescale_?intens'


@dataclass(frozen=True)
class ImageFormat:
    """How images reach a network.

    Attributes:
        channels (int, optional): How many, None where it cannot be told.
        order (str, optional): ``'rgb'`` or ``'bgr'``, None where it cannot be
            told or there are not three.
        normalisation (tuple): What is subtracted from the values of the file,
            0 to 255, and what they are divided by then.
        unknown (tuple[str]): Steps of the pipeline that normalise in a way
            that is not known here.
    """
    channels: Optional[int]
    order: Optional[str]
    normalisation: Normalisation
    unknown: Tuple[str, ...] = ()

    @classmethod
    def of(cls,
           network: nn.Module,
           cfg: Optional[Config] = None,
           order: Optional[str] = None) -> 'ImageFormat':
        """That of a network.

        Args:
            network (nn.Module): With its data preprocessor.
            cfg (Config, optional): With its data pipeline, if there is one.
                Defaults to None.
            order (str, optional): Of the channels. Defaults to None, told by
                the config.
        """
        steps = pipeline_of(cfg) or []
        if order is None and cfg is not None:
            order = channel_order_of(cfg)
        preprocessor = network.data_preprocessor
        if getattr(preprocessor, 'channel_conversion', False) or getattr(
                preprocessor, 'to_rgb', False):
            steps = [*steps, dict(to_rgb=True)]
        normalisation, unknown = _through(steps,
                                          normalisation_of(preprocessor))
        channels = image_channels(network)
        if channels not in (3, None):
            order = None
        return cls(channels, order, normalisation, unknown)


def image_channels(network: nn.Module) -> Optional[int]:
    """How many channels an image has, by the first filters; None without
    any, as in an MLP."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return None


def random_images(network: nn.Module, count: int,
                  size: Sequence[int]) -> Tensor:
    """Images of noise that a network takes, where there is no data set.

    Args:
        network (nn.Module): The network; one without filters gets colours.
        count (int): How many.
        size (Sequence[int]): Height and width.

    Returns:
        Tensor: (count, C, H, W).
    """
    return torch.randn(count, image_channels(network) or 3, *size)


def normalisation_of(preprocessor: nn.Module) -> Normalisation:
    """Mean and standard deviation of a data preprocessor, in float64 and in
    the order of the channels that it puts out; 0 and 1 where it has none."""
    mean = getattr(preprocessor, 'mean', None)
    if mean is None or not getattr(preprocessor, '_enable_normalize', True):
        return _tensors(0, 1)
    return tuple(
        getattr(preprocessor, name).detach().cpu().double().flatten()
        for name in ('mean', 'std'))


def pipeline_of(cfg: Optional[Config]) -> Optional[List[dict]]:
    """The steps that a config's images go through; None without any data."""
    loader = cfg and (cfg.get('test_dataloader')
                      or cfg.get('train_dataloader'))
    if not loader:
        return None
    dataset = loader['dataset']
    while 'dataset' in dataset or 'datasets' in dataset:  # a wrapper
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    return [
        step for step in dataset.get('pipeline') or ()
        if isinstance(step, dict)
    ]


def channel_order_of(cfg: Config) -> Optional[str]:
    """The order of the channels that reach a config's network.

    OpenMMLab's file loaders read BGR; its array data sets (CIFAR and so on)
    hold RGB; steps of the pipeline and the data preprocessor's ``to_rgb``
    (``bgr_to_rgb``) reverse either.

    Returns:
        str | None: ``'rgb'`` or ``'bgr'``; None where the config has no data
        pipeline, so that it cannot be told.
    """
    steps = pipeline_of(cfg)
    if steps is None:
        return None
    names = [type_name(step) for step in steps]
    order = 'bgr' if any('LoadImage' in name for name in names) else 'rgb'
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get(
        'data_preprocessor') or {}
    for step in (*steps, preprocessor):
        if _reverses(step):
            order = order[::-1]
    return order


def _reverses(step: dict) -> bool:
    return any(
        step.get(name)
        for name in ('to_rgb', 'to_bgr', 'bgr_to_rgb', 'rgb_to_bgr'))


def _through(steps: List[dict],
             last: Normalisation) -> Tuple[Normalisation, Tuple[str, ...]]:
    """What steps and then the preprocessor do to the values of a file."""
    done, unknown = _tensors(0, 1), []
    for step in steps:
        name, mean, std = type_name(step), step.get('mean'), step.get('std')
        if _reverses(step):  # first, and what was done before with it
            done = tuple(value.flip(0) for value in done)
        if name == 'ToTensor':  # torchvision's; 0 to 1 afterwards
            mean, std = 0, 255
        elif not re.search(SUSPECT, name):
            continue
        elif not name.endswith('Normalize') or mean is None or std is None:
            unknown.append(name)
            continue
        done = _after(done, _tensors(mean, std))
    return _after(done, last), tuple(unknown)


def _after(first: Normalisation, second: Normalisation) -> Normalisation:
    """((x - m) / s - m') / s' as one."""
    (mean, std), (new_mean, new_std) = first, second
    return mean + std * new_mean, std * new_std


def _tensors(*values) -> Normalisation:
    return tuple(
        torch.as_tensor(value, dtype=torch.float64).flatten()
        for value in values)
