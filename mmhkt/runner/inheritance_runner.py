# Copyright (c) mmhkt authors. All rights reserved.
import inspect
import os.path as osp
from pathlib import Path
from typing import Callable, Dict, List, Optional, Union

import torch
import torch.distributed as dist
from mmengine.device import get_device
from mmengine.dist import is_distributed, master_only
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn

from mmhkt.methods import Method
from mmhkt.models import HereditaryModel, Parent, channel_order_of, task_of
from mmhkt.registry import METHODS, RUNNERS
from mmhkt.utils import (STRIP_MODULE, load_strictly, nearest,
                         private_randomness, read_checkpoint, seed_everything,
                         weights_of)
from mmhkt.utils.files import replaced
from . import transfer_part

HOOKS_OF_OURS = dict(
    extraction='mmhkt.ExtractionHook',
    transfer='mmhkt.TransferHook',
    mixture='mmhkt.MixtureHook')


@RUNNERS.register_module()
class InheritanceRunner(Runner):
    """mmengine's Runner for a child that inherits from a parent.

    ``runner_type = 'mmhkt.InheritanceRunner'`` makes any config one of ours.
    Beside the usual keys it reads

    - ``parent``: settings of :class:`mmhkt.models.Parent`;
    - ``method``: a config of the registry ``METHODS``, or a list of them;
    - ``task``: settings of the child's task, see :mod:`mmhkt.models.tasks`;
    - ``revise_keys``: pairs of a regular expression and its replacement for
      the keys of loaded checkpoints, as in mmengine's ``load_checkpoint``;
    - ``trusted``: whether loaded checkpoints may be read by pickle.

    The parent is built when training begins and not before: to test or to
    validate, only the plain child is built. Beyond the Runner's own behaviour

    - checkpoints hold the plain child, with what only training needs under
      the key ``transfer``, and are written atomically;
    - initial weights, batches and augmentations depend on the seed alone: not
      on the method, on the number of workers or on interruptions;
    - testing loads checkpoints strictly;
    - ``launcher='pytorch'`` works on CPU (gloo).
    """

    def __init__(self, *args, **kwargs):
        self._ready = False
        super().__init__(*args, **kwargs)

    # ---------------------------------------------------------------- model

    def wrap_model(self, model_wrapper_cfg: Optional[Dict],
                   model: nn.Module) -> nn.Module:
        """Wrap for distributed runs, once it is known what for.

        The Runner calls this before it knows whether it will train.
        """
        if not self._ready:
            return model.to(get_device())
        if self.distributed and get_device() == 'cpu':
            model = revert_sync_batchnorm(model)
            model_wrapper_cfg = {
                'type':
                'MMDistributedDataParallel',
                'find_unused_parameters':
                self.cfg.get('find_unused_parameters', False),
                **(model_wrapper_cfg or {}), 'device_ids':
                None
            }
        return super().wrap_model(model_wrapper_cfg, model)

    def prepare(self, train: bool) -> None:
        """Make the model what it has to be for training, or for testing.

        :meth:`train`, :meth:`val` and :meth:`test` do this themselves.

        Args:
            train (bool): Whether the child will be trained: it is then
                joined with parent and methods.
        """
        if self._ready:
            return
        if train:
            # The data is needed first: an image for the dry run.
            self._train_loop = self.build_train_loop(self._train_loop)
            self.model = self.inherit(self.model)
            if any(method.turns_off() for method in self.model.methods):
                self.cfg.find_unused_parameters = True
        self._ready = True
        self.model = self.wrap_model(
            self.cfg.get('model_wrapper_cfg'), self.model)

    def inherit(self,
                child: nn.Module,
                image: Optional[torch.Tensor] = None) -> HereditaryModel:
        """Join child, parent and methods, as the config has them.

        Args:
            child (nn.Module): The plain child.
            image (Tensor, optional): For the dry run. Defaults to None, the
                first training image.

        Returns:
            HereditaryModel: What is trained.
        """
        # Streams of its own: the child's initial weights and everything drawn
        # later must not depend on what a method draws here.
        with private_randomness(self.seed, 1):
            methods = build_methods(self.cfg.get('method'))
            parent = None
            if any(method.needs_parent for method in methods):
                parent = Parent.from_cfg(self.cfg.get('parent'))
                parent.connect(child, channel_order_of(self.cfg))
                parent.to(get_device())
            if image is None:
                image = self.example(child)
                for method in methods:
                    method.survey(self.train_dataloader.dataset)
            return HereditaryModel(child, parent, methods, image,
                                   self.cfg.get('task')).to(get_device())

    def example(self, child: nn.Module) -> torch.Tensor:
        """The first training image, (1, 3, H, W), as the child gets it."""
        loader = self.train_dataloader
        batch = loader.collate_fn([loader.dataset[0]])
        return child.data_preprocessor(
            batch,
            task_of(child).padded_in_training)['inputs']

    def _init_model_weights(self) -> None:
        seed_everything(self.seed)
        super()._init_model_weights()

    # ------------------------------------------------------------------ run

    def train(self) -> nn.Module:
        """Launch training; see the Runner."""
        if self._train_loop is None:
            return super().train()  # raises the Runner's own error
        self.prepare(train=True)
        return super().train()

    def val(self) -> dict:
        """Launch validation of the child; see the Runner."""
        self.prepare(train=False)
        return super().val()

    def test(self) -> dict:
        """Launch testing of the child; see the Runner."""
        self.prepare(train=False)
        return super().test()

    def setup_env(self, env_cfg: Dict) -> None:
        """Set up the environment, distributed on CPU too."""
        on_cpu = get_device() == 'cpu'
        if self.distributed and on_cpu and not is_distributed():
            # init_dist of mmengine wants a CUDA device for every process.
            dist.init_process_group('gloo')
        super().setup_env(env_cfg)

    def build_train_loop(self, loop: Union[BaseLoop, Dict]) -> BaseLoop:
        """Build the loop over batches that depend on the seed alone."""
        loader = self._train_dataloader
        if isinstance(loader, dict) and not isinstance(loop, BaseLoop):
            loader = loader.copy()
            loader['dataset'] = dict(
                type='mmhkt.SeededDataset',
                dataset=loader['dataset'],
                check=task_of(self.model).check(training=True))
            loader['sampler'] = dict(
                type='mmhkt.SeededSampler', sampler=loader['sampler'])
            self._train_dataloader = loader
        return super().build_train_loop(loop)

    def build_val_loop(self, loop: Union[BaseLoop, Dict]) -> BaseLoop:
        """Build the loop over checked samples."""
        self._val_dataloader = self._checked(self._val_dataloader)
        return super().build_val_loop(loop)

    def build_test_loop(self, loop: Union[BaseLoop, Dict]) -> BaseLoop:
        """Build the loop over checked samples."""
        self._test_dataloader = self._checked(self._test_dataloader)
        return super().build_test_loop(loop)

    def _checked(self, loader):
        network = self._hereditary.child if self._hereditary else self.model
        check = task_of(network).check(training=False)
        if check is None or not isinstance(loader, dict):
            return loader
        return {
            **loader, 'dataset':
            dict(
                type='mmhkt.CheckedDataset',
                dataset=loader['dataset'],
                check=check)
        }

    def build_optim_wrapper(self, optim_wrapper) -> OptimWrapper:
        """Build the optimiser.

        Raises:
            TypeError: If there are several.
        """
        built = super().build_optim_wrapper(optim_wrapper)
        if not isinstance(built, OptimWrapper) or not hasattr(
                built, 'optimizer'):
            raise TypeError('InheritanceRunner trains with one optimiser, '
                            f'but got {type(built).__name__}.')
        return built

    def register_default_hooks(self,
                               hooks: Optional[Dict[str, Union[Hook,
                                                               Dict]]] = None):
        """Add the three hooks of inheritance; a config can replace each by
        its name, or drop it by None."""
        hooks = dict(hooks or {})
        for name, hook_type in HOOKS_OF_OURS.items():
            if hooks.setdefault(name, dict(type=hook_type)) is None:
                hooks.pop(name)
        super().register_default_hooks(hooks)

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Call the hooks; before each iteration seed everything.

        Dropout, mixup and the like then depend on seed, rank and iteration
        alone, whatever a method or an interruption did before.
        """
        if fn_name == 'before_train_iter':
            seed_everything(self.seed, self.rank, self.iter)
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_save_checkpoint' and self._hereditary:
            # After the hooks, so that nothing is added behind our back.
            transfer_part.set_aside(kwargs['checkpoint'], self._hereditary,
                                    self.optim_wrapper.optimizer)
            for state in kwargs['checkpoint'].get('param_schedulers', ()):
                # A function, as OneCycleLR's state has one, could be read by
                # pickle only; the scheduler that resumes has its own.
                for key in [k for k, v in state.items() if callable(v)]:
                    del state[key]

    @property
    def _hereditary(self) -> Optional[HereditaryModel]:
        model = self.model
        if is_model_wrapper(model):
            model = model.module
        return model if isinstance(model, HereditaryModel) else None

    # ---------------------------------------------------------- checkpoints

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args,
                        **kwargs) -> None:
        """Save a checkpoint; on a local disk the file is there whole or not
        at all."""
        backend = get_file_backend(
            out_dir, backend_args=kwargs.get('backend_args'))
        if not isinstance(backend, LocalBackend):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        with replaced(osp.join(out_dir, filename)) as partial:
            super().save_checkpoint(out_dir, partial.name, *args, **kwargs)

    def load_checkpoint(self,
                        filename: str,
                        map_location: Union[str, Callable] = 'cpu',
                        strict: Optional[bool] = None,
                        revise_keys: Optional[List] = None) -> dict:
        """Load a checkpoint into the child (and, resumed, all the rest).

        Args:
            filename (str): A file or an ``http(s)://`` address.
            map_location: As in :func:`torch.load`.
            strict (bool, optional): Defaults to None: strict, except where
                training starts from other weights (``load_from``).
            revise_keys (list, optional): Defaults to None: the config's
                ``revise_keys``.

        Returns:
            dict: What the file holds.

        Raises:
            ValueError: If it cannot be read or does not fit.
        """
        checkpoint = read_checkpoint(filename, self.cfg.get('trusted', False),
                                     map_location)
        model = self._hereditary
        if self._resume and model:
            transfer_part.put_back(checkpoint, model,
                                   self.optim_wrapper.optimizer)
        if revise_keys is None:
            revise_keys = self.cfg.get('revise_keys', STRIP_MODULE)
        weights = weights_of(checkpoint, revise_keys)
        if 'state_dict' in checkpoint:
            checkpoint['state_dict'] = weights
        else:
            checkpoint = dict(state_dict=weights)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)

        network = model or (self.model.module
                            if is_model_wrapper(self.model) else self.model)
        if strict is None:
            strict = self._resume or model is None
        if strict:
            load_strictly(network, checkpoint['state_dict'],
                          f'The checkpoint "{filename}"')
        else:
            _load_what_fits(network, checkpoint['state_dict'], self.logger)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def load_or_resume(self) -> None:
        """Load or resume; falls back to the newest whole checkpoint where
        the one noted last is not there."""
        if self._resume and self._load_from is None and not self._has_loaded:
            self._load_from = _latest_checkpoint(self.work_dir)
            if self._load_from is None:
                self.logger.info(
                    f'No checkpoint in {self.work_dir} to resume; starting '
                    'from the beginning.')
        super().load_or_resume()


def build_methods(cfg: Union[dict, List[dict], None]) -> List[Method]:
    """Build what a config has as ``method``.

    Args:
        cfg (dict | list[dict]): One method or several.

    Raises:
        ValueError: If there is none, or one is unknown or has no such
            setting; names the nearest that there is.
    """
    if not cfg:
        raise ValueError(
            "No method is given: add method=dict(type='mmhkt.HKT') to the "
            f'config; known: {", ".join(METHODS.module_dict)}.')
    methods = []
    for one in cfg if isinstance(cfg, (list, tuple)) else [cfg]:
        settings = dict(one)
        settings.pop('_scope_', None)
        name = settings.pop('type', None)
        method = METHODS.get(name) if isinstance(name, str) else name
        if method is None:
            known = [f'mmhkt.{known}' for known in METHODS.module_dict]
            raise ValueError(
                f'There is no method "{name}"; {nearest(str(name), known)}.')
        accepted = _settings_of(method)
        for setting in settings:
            if setting not in accepted:
                raise ValueError(f'{name} has no setting "{setting}"; '
                                 f'{nearest(setting, accepted)}.')
        methods.append(method(**settings))
    return methods


def _settings_of(method: type) -> List[str]:
    """All arguments of a class, also those that it hands on by ``**kwargs``.
    """
    names = []
    for kind in method.__mro__:
        parameters = inspect.signature(kind.__init__).parameters.values()
        names += [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return [name for name in dict.fromkeys(names) if name != 'self']


def _load_what_fits(network: nn.Module, weights: dict, logger) -> None:
    own = network.state_dict()
    fitting = {
        k: v
        for k, v in weights.items() if k in own and v.shape == own[k].shape
    }
    if not fitting:
        raise ValueError('load_from holds no weight of the child; '
                         f'{nearest(next(iter(weights), ""), own)}.')
    left = [k for k in own if k not in fitting]
    if left:
        logger.warning(f'load_from leaves {len(left)} weights of the child '
                       f'as initialised: {", ".join(left[:6])}')
    network.load_state_dict({**own, **fitting})


def _latest_checkpoint(folder: str) -> Optional[str]:
    noted = Path(folder, 'last_checkpoint')
    if noted.is_file():
        path = noted.read_text().strip()
        if path and Path(path).is_file():
            return path
    found = [
        path for path in Path(folder).glob('*.pth')
        if path.stem.split('_')[0] in ('epoch', 'iter')
    ]
    return str(max(found, key=osp.getmtime)) if found else None
