# Copyright (c) mmhkt authors. All rights reserved.
"""Inheritance in Python, for notebooks and for training loops of one's own.

The same objects as those of the commands: :class:`mmhkt.models.Inheritance`
computes the losses, :class:`mmhkt.models.Parent` is the parent, and schedules
are those of :class:`mmhkt.hooks.TransferHook`.
"""
import copy
import logging
from contextlib import ExitStack
from io import StringIO
from typing import (Annotated, Callable, Dict, List, Optional, Sequence, Union,
                    cast)

import torch
from annotated_types import MinLen
from mmengine.config import Config
from mmengine.logging import print_log
from rich.console import Console
from torch import Tensor, nn

from mmhkt.hooks.transfer_hook import Knobs
from mmhkt.methods import Method as BaseMethod
from mmhkt.models import (ImageFormat, Inheritance, Parent, PlainClassifier,
                          build_network)
from mmhkt.models.build import as_network, from_zoo, is_zoo_name
from mmhkt.models.image_format import normalisation_of
from mmhkt.models.pairing import pairing
from mmhkt.runner.inheritance_runner import build_methods
from mmhkt.utils.config import load_config
from mmhkt.utils.settings import (Count, Name, NotNegative, Positive,
                                  SettingError, check)

Network = Union[str, dict, Config, nn.Module]
Method = Union[Name, dict, Annotated[Sequence[Union[Name, dict]], MinLen(1)]]
Channels = Annotated[Sequence[NotNegative], MinLen(1)]
Deviations = Annotated[Sequence[Positive], MinLen(1)]


def inherit(child: Network,
            parent: Union[Network, Parent, None],
            images: Tensor,
            method: Method = 'mmhkt.HKT',
            steps: Optional[Count] = None,
            loss: Optional[Callable[[Tensor, Tensor], Tensor]] = None,
            mean: Optional[Channels] = None,
            std: Optional[Deviations] = None) -> 'InheritedLoss':
    """Join a child with its parent: the loss to train the child with.

    Args:
        child (nn.Module | str | dict | Config): The network to train: any
            module from images to logits, a network of OpenMMLab's, or the
            config or the name in mmpretrain's zoo of one, which is then built
            with random weights.
        parent (nn.Module | str | dict | Config | Parent, optional): The big
            network: a module with its weights; a name of mmpretrain's zoo,
            with the zoo's weights; or the settings of
            :class:`mmhkt.models.Parent`, ``dict(config=..., checkpoint=...)``.
            It is frozen. None for methods that need none.
        images (Tensor): One batch, (B, C, H, W), as the child takes it, for
            one dry run of both networks.
        method (str | dict | list): How it inherits, as in a config. Defaults
            to ``'mmhkt.HKT'``.
        steps (int, optional): How many steps the training has, for methods
            that change while it goes on. Defaults to None, where none does.
        loss (Callable, optional): The child's own loss, of logits and labels,
            where it is a plain module. Defaults to None, cross entropy.
        mean (Sequence[float], optional): What was subtracted from each
            channel of the images, 0 to 255, RGB, where the child is a plain
            module. The parent's images are normalised its own way from this.
            Defaults to None: both take the same images.
        std (Sequence[float], optional): What they were divided by then.

    Returns:
        InheritedLoss: ``loss(images, labels)``.

    Raises:
        ValueError: If a site does not exist or cannot be aligned, a setting
            is unknown, ``steps``, ``mean`` and ``std`` are missing where they
            are needed, or the method has to see the training set first.
    """
    check(
        inherit,
        dict(method=method, steps=steps, loss=loss, mean=mean, std=std),
        'mmhkt.inherit',
        partial=True)
    if (mean is None) != (std is None):
        raise SettingError('mmhkt.inherit: mean and std belong together, but '
                           f'got mean={mean!r}, std={std!r}.')
    cfg, network = _network_of(child, loss, mean, std)
    methods = build_methods(_dicts(method))
    for m in methods:
        if type(m).survey is not BaseMethod.survey:
            raise ValueError(
                f'{type(m).__name__} has to know all training images and '
                'their numbers, which mmhkt.inherit is not given; train it '
                'from a config, or take another method.')
    elder = None
    if any(m.needs_parent for m in methods):
        elder = _parent_of(parent, network)
        if (isinstance(network, PlainClassifier) and mean is None
                and _normalises(elder.network) and not _normalises(network)):
            raise ValueError(
                'The parent takes images that are normalised its own way; '
                'say by mean=[...], std=[...] (0 to 255, RGB) how those of '
                'the child are.')
        elder.connect(network,
                      ImageFormat.of(network, cfg, None if cfg else 'rgb'))
    device = next(network.parameters()).device
    if elder is not None:
        elder.to(device)
    inheritance = Inheritance(network, elder, methods, images[:1]).to(device)
    for note in (note for m in methods for note in m.notes()):
        print_log(note, logger='current', level=logging.WARNING)
    return InheritedLoss(inheritance, steps)


class InheritedLoss(nn.Module):
    """The loss of a child with all that it inherits, for any training loop.

    Use it as a context: within it the child has the taps that inheriting
    needs, before and after it is the plain one. :meth:`parameters` are what an
    optimiser has to train, the child's and what only training needs.

    Args:
        inheritance (Inheritance): Child, parent and methods.
        steps (int, optional): See :func:`inherit`.

    Attributes:
        terms (dict[str, Tensor]): What the last loss was made of, by name.
        step (int): How many losses were computed in training.
    """

    def __init__(self, inheritance: Inheritance, steps: Optional[int] = None):
        super().__init__()
        self.inheritance = inheritance
        self.steps = steps
        self.step = 0
        self.terms: Dict[str, Tensor] = {}
        methods = cast(List[BaseMethod], list(inheritance.methods))
        self._knobs = Knobs(methods)
        self._taps: Optional[ExitStack] = None
        units = self._knobs.units()
        if 'epoch' in units:
            raise ValueError("A schedule counts in epochs; unit='run' or "
                             "'iter' is known in a loop of one's own.")
        if steps is None and self._knobs.need_length():
            names = [m.name for m in methods if m.schedule]
            raise ValueError(
                f'{", ".join(names)} changes while the training goes on: say '
                'by steps=... how many steps it has.')

    def get_extra_state(self) -> Dict[str, int]:
        """How far the training is: part of the ``state_dict``."""
        return dict(step=self.step)

    def set_extra_state(self, state: Dict[str, int]) -> None:
        """Go on from there, with mixture and hints as they were then."""
        self.step = state['step']

    @property
    def child(self) -> nn.Module:
        """nn.Module: The plain child, as it was given."""
        child = self.inheritance.child
        return child.model if isinstance(child, PlainClassifier) else child

    def pairing(self) -> str:
        """The sites: shapes, adapters and costs, as a table to print."""
        console = Console(width=120, file=StringIO())
        console.print(pairing(self.inheritance))
        return console.file.getvalue()  # type: ignore[attr-defined]

    def __enter__(self) -> 'InheritedLoss':
        self._taps = ExitStack()
        self._taps.enter_context(self.inheritance.tapped())
        return self

    def __exit__(self, *error) -> None:
        if self._taps is not None:
            self._taps.close()
        self._taps = None

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """One training step's loss.

        Args:
            images (Tensor): (B, C, H, W), as the child takes them.
            labels (Tensor): Of a classifier classes (B, ) or scores (B,
                classes), of a segmentor a class a pixel, (B, H, W), of a
                network for flow the flow in pixels, (B, 2, H, W), NaN where
                it is not known.

        Returns:
            Tensor: The sum of all terms, a scalar.

        Raises:
            RuntimeError: Outside of the context.
        """
        if self._taps is None:
            raise RuntimeError(
                'The child has no taps here; train within `with loss:`.')
        if self.steps is not None or self._knobs.units():
            steps = self.steps or self.step + 1
            self._knobs.turn(self.step, steps, steps)
        if self.training:
            if self.step == 0 and not self.child.training:
                print_log(
                    'The child is in eval mode: its batch norms learn '
                    'nothing. Call child.train() before it is trained.',
                    logger='current',
                    level=logging.WARNING)
            self.step += 1
        samples = self.inheritance.task.samples(labels)
        total, self.terms = self.inheritance.parse_losses(
            self.inheritance.loss(images, samples))
        return total


def _normalises(network: nn.Module) -> bool:
    mean, std = normalisation_of(network.get_submodule('data_preprocessor'))
    return bool(mean.any() or (std != 1).any())


def _dicts(method: Method) -> List[dict]:
    several: list = list(method) if isinstance(method,
                                               (list, tuple)) else [method]
    return [dict(type=m) if isinstance(m, str) else dict(m) for m in several]


def _network_of(child, loss, mean, std):
    """Config, if there is one, and network of a child."""
    if isinstance(child, nn.Module):
        normalised = dict(mean=mean, std=std, to_rgb=False) if mean else None
        settings = dict(data_preprocessor=normalised)
        if loss is not None:
            settings['loss'] = loss
        return None, as_network(child, **settings)
    if isinstance(child, str):
        child = (
            from_zoo(child)[0] if is_zoo_name(child) else load_config(child))
    cfg = child if isinstance(child, Config) else Config(dict(child))
    network = build_network(cfg)
    with torch.no_grad():
        network.init_weights()
    return cfg, network


def _parent_of(parent, child: nn.Module) -> Parent:
    if isinstance(parent, Parent):
        return parent.again()
    if isinstance(child, PlainClassifier) and isinstance(parent, nn.Module):
        # Whether classes exclude each other only a loss tells, and a plain
        # parent has none of its own. The child's may be learned.
        loss = copy.deepcopy(child.loss_module)
        parent = as_network(parent, loss=loss)
    if isinstance(parent, dict) and 'model' not in parent:
        return Parent.from_cfg(parent)
    if parent is None:
        return Parent.from_cfg(None)  # says what is missing
    return Parent(parent)
