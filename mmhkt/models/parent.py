# Copyright (c) mmhkt authors. All rights reserved.
import copy
import hashlib
from typing import Annotated, Any, Literal, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from annotated_types import MinLen
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings
from torch import Tensor, nn

from mmhkt.inheritance import FeatureCache, Precision
from mmhkt.inheritance.outputs import pick
from mmhkt.utils import (STRIP_MODULE, load_strictly, read_checkpoint,
                         weights_of)
from mmhkt.utils.checkpoint import existing
from mmhkt.utils.config import load_config
from mmhkt.utils.hashing import hash_of_settings, hash_of_weights
from mmhkt.utils.settings import (Count, Name, ReviseKeys, SettingError, check,
                                  checked)
from .build import as_network, build_network, from_zoo, is_zoo_name
from .feature_network import FeatureNetwork
from .folding import fold_norms
from .image_format import ImageFormat, Normalisation, channel_order_of
from .tasks import tasks

Half = Literal['bfloat16', 'float16']

NO_CHECKPOINT = (
    'The parent has no checkpoint: set parent=dict(..., '
    "checkpoint='file.pth'). (A random parent teaches nothing; for tests and "
    'timings it can be had by random_weights=True.)')


@checked
class Parent(nn.Module):
    """The frozen network that a child inherits from.

    Its weights are loaded strictly, get no gradient and never change; it is
    in eval mode for good. Copies of a model that holds a parent share it.

    Args:
        config (str | dict | Config | nn.Module): A config file
            (``'mmpretrain::...'``, ``'mmseg::...'``, ``'mmhkt::...'`` or a
            path), a dict that holds ``model``, a name of mmpretrain's zoo, or
            the network itself, with its weights.
        checkpoint (str, optional): File or ``http(s)://`` address of its
            weights. Defaults to None: those of the zoo or the network.
        revise_keys (Sequence[tuple[str, str]]): Regular expressions and
            replacements for the keys in the checkpoint. Defaults to cutting
            off ``'module.'``.
        trusted (bool): Allow the checkpoint to be read by pickle, which runs
            code in it. Defaults to False.
        random_weights (bool): Go without a checkpoint. A random parent
            teaches nothing; it serves tests and timings. Defaults to False.
        channel_order (str, optional): ``'rgb'`` or ``'bgr'``, what the parent
            takes. Defaults to None, found: see
            :func:`mmhkt.models.channel_order_of`.
        input_size (tuple[int, int], optional): Height and width to which
            images are resized for the parent. Defaults to None, as the child
            gets them.
        cache (str, optional): A folder in which its features are kept, for
            whoever sees the same images again, see
            :class:`mmhkt.inheritance.FeatureCache`. Defaults to None.
        classes (Sequence[str], optional): Names of its classes, in the order
            of its logits, which are matched with those of the child's data.
            Defaults to None: those that its checkpoint names, if it does.
        module (str | dict | nn.Module, optional): In place of ``config`` any
            network from images to logits: the dotted name of what makes it,
            a dict with that as ``type`` and with its arguments, or itself.
            One that is told ``pretrained=True`` or ``weights=...`` needs no
            checkpoint. Defaults to None.
        data_preprocessor (dict, optional): How a ``module`` takes its images,
            ``dict(mean=[...], std=[...])`` of values from 0 to 255. Defaults
            to None, without normalisation.
        cache_dtype (str, optional): ``'bfloat16'`` or ``'float16'``, to which
            features are rounded, for half the room in the cache; also where
            they are not kept yet, so that each step is the same. Defaults to
            None, as they are.
        dtype (str, optional): ``'bfloat16'`` or ``'float16'``, in which it
            runs, with the weights of its convolutions and linear layers in
            that type, whatever the child is trained in. Defaults to None, as
            the child.
        memory_format (str, optional): ``'channels_last'``. Defaults to None.
        fold_norms (bool): Whether batch norms are folded into the
            convolutions before them where no site lies between, see
            :func:`mmhkt.models.fold_norms`. Defaults to False.
        compile (bool | dict): Whether what lies between its sites is
            compiled; a dict of arguments of :func:`torch.compile`. Defaults
            to False.

    Raises:
        ValueError: Without a checkpoint, or where it does not fit.
    """

    def __init__(self,
                 config: Union[Name, dict, Config, nn.Module, None] = None,
                 checkpoint: Optional[Name] = None,
                 revise_keys: ReviseKeys = STRIP_MODULE,
                 trusted: bool = False,
                 random_weights: bool = False,
                 channel_order: Optional[Literal['rgb', 'bgr']] = None,
                 input_size: Optional[Tuple[Count, Count]] = None,
                 cache: Optional[Name] = None,
                 classes: Optional[Annotated[Sequence[str],
                                             MinLen(1)]] = None,
                 module: Union[Name, dict, nn.Module, None] = None,
                 data_preprocessor: Optional[dict] = None,
                 cache_dtype: Optional[Half] = None,
                 dtype: Optional[Half] = None,
                 memory_format: Optional[Literal['channels_last']] = None,
                 fold_norms: bool = False,
                 compile: Union[bool, dict] = False):
        super().__init__()
        if module is not None:
            # Networks of other houses take RGB.
            channel_order = channel_order or 'rgb'
            config = _of_module(module, data_preprocessor)
        has_weights = random_weights or _brings_weights(config, module)
        if isinstance(config, str) and is_zoo_name(config):
            config, address = from_zoo(config)
            checkpoint = checkpoint or (None if has_weights else address)
        self.cfg = _config_of(config)
        if checkpoint is None and not has_weights:
            raise SettingError(NO_CHECKPOINT)
        self.configured = not isinstance(config, nn.Module)
        self.network = (
            build_network(self.cfg) if self.configured else as_network(config))
        self.checkpoint = checkpoint
        self.random_weights = random_weights and checkpoint is None
        self.classes = classes
        if checkpoint is not None:
            file = read_checkpoint(checkpoint, trusted)
            if classes is None:
                self.classes = classes_in(file)
            weights = weights_of(file, revise_keys)
            if isinstance(self.network, FeatureNetwork):
                weights = self.network.own(weights)
            load_strictly(self.network, weights,
                          f'The parent\'s checkpoint "{checkpoint}"')
        self.channel_order = channel_order or channel_order_of(self.cfg)
        self.input_size = input_size
        self.cache = cache
        self.matched = ''
        self.precision = Precision(*(name and getattr(torch, name)
                                     for name in (dtype, cache_dtype)))
        if memory_format is not None:
            self.network.to(memory_format=getattr(torch, memory_format))
        self.folds = fold_norms
        self.compile_cfg = dict(compile) if isinstance(
            compile, dict) else ({} if compile else None)
        self.requires_grad_(False)
        self.eval()

    @staticmethod
    def check_config(config: str) -> None:
        """Whether a name of the zoo or a path is that of a parent's config.

        Raises:
            ValueError: If there is no such name, or no model in the config.
            FileNotFoundError: If there is no such file.
        """
        _config_of(from_zoo(config)[0] if is_zoo_name(config) else config)

    @classmethod
    def from_cfg(cls, cfg: Any) -> 'Parent':
        """Build from a config's ``parent``.

        Raises:
            ValueError: Without a parent, or with an unknown setting.
        """
        return cls(**cls.check(cfg))

    @classmethod
    def check(cls, cfg: Any, there: bool = True) -> dict:
        """Check a config's ``parent``, and whether its files are there.

        Args:
            cfg (dict): A config's ``parent``.
            there (bool): Whether its checkpoint has to be there. Defaults to
                True.

        Returns:
            dict: The arguments.

        Raises:
            SettingError: Without a parent, or with a wrong setting.
            FileNotFoundError: If a file is not there.
        """
        if cfg is None or cfg == {}:
            raise SettingError(
                "No parent is given: add parent=dict(config='...', "
                "checkpoint='...') to the config, or train the child alone "
                "with method=dict(type='mmhkt.Alone').")
        if isinstance(cfg, dict):
            cfg = {k: v for k, v in cfg.items() if k != '_scope_'}
        check(cls, cfg, 'parent')
        if (cfg.get('config') is None) == (cfg.get('module') is None):
            raise SettingError(
                'parent wants one of config (of OpenMMLab) and module (any '
                'network from images to logits).')
        if cfg.get('checkpoint') is not None:
            if there:
                existing(cfg['checkpoint'])
        elif not (cfg.get('random_weights')
                  or _brings_weights(cfg.get('config'), cfg.get('module'))
                  or isinstance(cfg.get('config'), str)
                  and is_zoo_name(cfg['config'])):
            raise SettingError(NO_CHECKPOINT)
        return cfg

    def again(self) -> 'Parent':
        """The same network for another child: what is read of it, and how
        images reach it, is apart.

        Raises:
            ValueError: If its weights have been folded or rounded for what
                the first child reads.
        """
        if not hasattr(self, 'extraction'):
            return self
        if self.folds or self.precision.compute is not None:
            raise ValueError(
                'The weights of this parent have been changed for another '
                'child (by fold_norms or dtype); make a second Parent for '
                'this one.')
        other = copy.copy(self)
        other._modules = dict(self._modules)
        return other

    def connect(self, child: nn.Module, images: ImageFormat) -> None:
        """Learn what images the child is given.

        Args:
            child (nn.Module): The child.
            images (ImageFormat): How its images reach it.

        Raises:
            ValueError: If the parent's cannot be made of them.
        """
        wanted = ImageFormat.of(self.network, self.cfg, self.channel_order)
        self.renormalise = Renormalise.between(images, wanted)

    def feature_cache(self) -> Optional[FeatureCache]:
        """Where this network's features are kept; None if they are not."""
        if self.cache is None:
            return None
        # Of a module that is no config, what it is made of tells what it is.
        made = '' if self.configured else f' {hash_of_settings(self.network)}'
        about = (f'{self.cfg.model} {hash_of_weights(self.network)} '
                 f'{self.precision}' + self.matched + made)
        return FeatureCache(self.cache,
                            hashlib.sha256(about.encode()).hexdigest())

    def forward(self, inputs: Tensor, *args, **kwargs) -> Any:
        """Its whole forward, on images as the child gets them.

        Args:
            inputs (Tensor): (B, C, H, W).
            *args: Of its network's forward, as are ``**kwargs``.
        """
        with self.precision.running(inputs.device):
            return self.network(self.images(inputs), *args, **kwargs)

    def prepare(self, image: Tensor) -> None:
        """Make it as cheap as the settings allow, when all that will be read
        of it is known.

        Args:
            image (Tensor): As the child gets it, for a dry run.
        """
        self.extraction.precision = self.precision
        if self.folds:
            images = self.images(
                image.to(next(self.network.parameters()).device))
            fold_norms(self.network, lambda: pick(self.network(images)),
                       self.extraction.wanted)
        # After that, so that what is folded is rounded once.
        self.precision.lower(self.network)
        self.extraction.cache = self.feature_cache()

    def images(self, inputs: Tensor) -> Tensor:
        """The child's images as the parent takes them."""
        images = self.renormalise(inputs)
        if self.input_size is not None:
            images = F.interpolate(
                images,
                size=tuple(self.input_size),
                mode='bilinear',
                align_corners=False,
                antialias=True)
        return images

    def train(self, mode: bool = True) -> 'Parent':
        """Stay in eval mode."""
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> 'Parent':
        return self


class Renormalise(nn.Module):
    """Turns images normalised for one network into another's.

    What was padded after it was normalised, as mmsegmentation does, stays the
    child's mean colour; the parent's own preprocessor would pad with its.

    Args:
        before (tuple): Mean and standard deviation of each channel that the
            images are normalised with, in their channel order.
        after (tuple): Those wanted, in the channel order wanted.
        flip (bool): Whether the channel order is reversed. Defaults to False.
        repeat (int): How often the channel of grey images is repeated.
            Defaults to 1.
    """

    def __init__(self,
                 before: Normalisation,
                 after: Normalisation,
                 flip: bool = False,
                 repeat: int = 1):
        super().__init__()
        self.flip = flip
        self.repeat = repeat
        (mean, std), (new_mean, new_std) = before, after
        if flip:
            mean, std = mean.flip(0), std.flip(0)
        # Else by rounding, where one is of 0 to 1 and the other of 0 to 255.
        self.same = bool((((mean - new_mean) / new_std).abs() < 1e-6).all()
                         and ((std / new_std - 1).abs() < 1e-6).all())
        shape = (-1, 1, 1)
        self.register_buffer('scale', (std / new_std).float().view(shape))
        self.register_buffer('shift',
                             ((mean - new_mean) / new_std).float().view(shape))

    @classmethod
    def between(cls, child: ImageFormat, parent: ImageFormat) -> 'Renormalise':
        """From the child's images to the parent's.

        Raises:
            ValueError: If the number of channels is another, but for grey
                images of a parent of three; or if one of the two normalises
                in a way that is not known.
        """
        grey = child.channels in (1, None) and parent.channels == 3
        same = child.channels == parent.channels
        if not (grey or same or None in (child.channels, parent.channels)):
            raise ValueError(
                f'The child takes images of {child.channels} channel(s), '
                f'the parent of {parent.channels}: its images cannot be '
                "made of the child's (only grey is repeated for a parent "
                'of 3 channels). Take a parent of as many channels.')
        if child.unknown != parent.unknown:
            role, step = next(
                (role, one.unknown[0])
                for role, one in (('child', child), ('parent', parent))
                if one.unknown)
            raise ValueError(
                f'The pipeline of the {role} normalises by {step} in a way '
                "that is not known here, so that the parent's images cannot "
                "be made of the child's. Normalise in data_preprocessor, by "
                'mean and std, or by a step Normalize that has them.')
        return cls(
            child.normalisation,
            parent.normalisation,
            flip=None not in (child.order, parent.order)
            and child.order != parent.order,
            repeat=3 if grey else 1)

    def forward(self, images: Tensor) -> Tensor:
        """Args: images (Tensor): (B, C, H, W), or (B, 6, H, W) of pairs."""
        if self.repeat > 1 and images.shape[1] == 1:
            images = images.repeat(1, self.repeat, 1, 1)
        if self.flip:
            # Of each frame of a pair on its own.
            images = images.unflatten(1, (-1, 3)).flip(2).flatten(1, 2)
        if self.same:
            return images
        return images * self.scale + self.shift

    def extra_repr(self) -> str:
        what = 'none' if self.same else (
            f'x {[round(v, 4) for v in self.scale.flatten().tolist()]} + '
            f'{[round(v, 4) for v in self.shift.flatten().tolist()]}')
        return ''.join([
            what, ', channels reversed' if self.flip else '',
            f', grey repeated {self.repeat} times' if self.repeat > 1 else ''
        ])


def _config_of(config: Union[str, dict, nn.Module]) -> Config:
    if isinstance(config, nn.Module):
        return Config(dict(model=dict(type=type(config).__name__)))
    if isinstance(config, str):
        package = config.partition('::')[0] if '::' in config else None
        config = load_config(config, custom_imports=False)
        if package is not None and 'default_scope' not in config:
            # As configs without any training have none.
            config.default_scope = package
    elif not isinstance(config, Config):
        config = Config(dict(config))
    if 'model' not in config:
        raise ValueError("The parent's config holds no `model`.")
    for task in tasks():
        model = task.as_parent(config.model)
        if model is not config.model:
            # Without what only the rest of the network needs.
            return Config({
                **config.to_dict(), 'model': model,
                'custom_imports': None
            })
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    return config


def _of_module(module: Union[str, dict, nn.Module],
               preprocessor: Optional[dict]) -> Union[Config, nn.Module]:
    """A network of whatever house as a classifier."""
    if isinstance(module, nn.Module):
        return as_network(module, data_preprocessor=preprocessor)
    if isinstance(module, str):
        module = dict(type=module)
    model = dict(type='mmhkt.PlainClassifier', model=dict(module))
    if preprocessor is not None:
        model['data_preprocessor'] = preprocessor
    return Config(dict(model=model))


def classes_in(checkpoint: dict) -> Optional[Tuple[str, ...]]:
    """The names of the classes that a checkpoint of OpenMMLab's notes."""
    meta = checkpoint.get('meta')
    for key in ('dataset_meta', 'CLASSES'):
        found = meta.get(key) if isinstance(meta, dict) else None
        if isinstance(found, dict):
            found = found.get('classes') or found.get('CLASSES')
        if isinstance(found, (list, tuple)) and found and all(
                isinstance(name, str) for name in found):
            return tuple(found)
    return None


def _brings_weights(*networks: Any) -> bool:
    """Whether a network is there, or one is made, with its weights."""
    return any(
        isinstance(network, nn.Module) or isinstance(network, dict)
        and bool(network.get('pretrained') or network.get('weights'))
        for network in networks)
