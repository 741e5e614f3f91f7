# Copyright (c) mmhkt authors. All rights reserved.
import inspect
import os
import os.path as osp
from functools import partial
from typing import Callable, Dict, List, Optional, Sequence, Union

import torch
import torch.distributed as dist
from mmengine.dataset import InfiniteSampler
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_distributed, master_only
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import (BaseTTAModel, MMDistributedDataParallel,
                            convert_sync_batchnorm, revert_sync_batchnorm)
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import (BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop,
                             Runner)
from torch import nn
from torch.utils.data import DataLoader

from mmhkt.datasets import BatchedLoader, SampleLoader
from mmhkt.hooks import SafeCheckpointHook
from mmhkt.methods import Method
from mmhkt.models import ImageFormat, Inheritance, Parent, task_of
from mmhkt.models.watch import Diverged
from mmhkt.registry import HOOKS, LOOPS, METHODS, RUNNERS
from mmhkt.utils import (STRIP_MODULE, load_strictly, nearest,
                         private_randomness, read_checkpoint, seed_everything,
                         weights_of)
from mmhkt.utils.checkpoint import Unreadable, check_finite
from mmhkt.utils.config import ConfigError
from mmhkt.utils.files import replaced
from mmhkt.utils.registered import found_in
from mmhkt.utils.settings import SettingError, check, name_of, shown
from . import transfer_part
from .loops import InheritanceEpochLoop, InheritanceIterLoop
from .resumable import checkpoints

HOOKS_OF_OURS = dict(
    data='mmhkt.DataHook',
    extraction='mmhkt.ExtractionHook',
    transfer='mmhkt.TransferHook',
    mixture='mmhkt.MixtureHook',
    divergence='mmhkt.DivergenceHook')

# Settings of a data loader that speak of its workers.
FOR_WORKERS = ('num_workers', 'persistent_workers', 'pin_memory',
               'prefetch_factor', 'multiprocessing_context')

OUR_LOOPS = {
    EpochBasedTrainLoop: InheritanceEpochLoop,
    IterBasedTrainLoop: InheritanceIterLoop
}


@RUNNERS.register_module()
class InheritanceRunner(Runner):
    """mmengine's Runner for a child that inherits from a parent.

    ``runner_type = 'mmhkt.InheritanceRunner'`` makes any config one of ours.
    Beside the usual keys it reads

    - ``parent``: settings of :class:`mmhkt.models.Parent`;
    - ``method``: a config of the registry ``METHODS``, or a list of them;
    - ``memory_format``: ``'channels_last'``, of the child's weights, and so
      of its features;
    - ``task``: settings of the child's task, see :mod:`mmhkt.models.tasks`;
    - ``revise_keys``: pairs of a regular expression and its replacement for
      the keys of loaded checkpoints, as in mmengine's ``load_checkpoint``;
    - ``trusted``: whether loaded checkpoints may be read by pickle.

    Its model is the plain child, from the optimiser's constructor to the
    checkpoint hook. Beside it, from when training begins,
    :attr:`inheritance` owns what only training needs; to test or to validate
    there is no parent. Beyond the Runner's own behaviour

    - checkpoints hold the plain child, with what only training needs under
      the key ``transfer``, and are written atomically;
    - initial weights, batches and augmentations depend on the seed alone: not
      on the method, on the number of workers or on interruptions;
    - testing loads checkpoints strictly;
    - ``launcher='pytorch'`` works on CPU (gloo).
    """

    def __init__(self, *args, **kwargs):
        # What the child is trained with, from when training begins; and the
        # same, wrapped for a distributed run.
        self.inheritance: Optional[Inheritance] = None
        self.trained: Optional[nn.Module] = None
        super().__init__(*args, **kwargs)

    # ---------------------------------------------------------------- model

    def wrap_model(self, model_wrapper_cfg: Optional[Dict],
                   model: nn.Module) -> nn.Module:
        """Bring the child to its device, with the norms that it is trained
        with. What is wrapped for a distributed run is not the child, but all
        that is trained, :meth:`connect`."""
        model = model.to(get_device())
        if self.cfg.get('memory_format') is not None:
            model = model.to(
                memory_format=getattr(torch, self.cfg.memory_format))
        if not self.distributed or get_device() == 'cpu':
            return revert_sync_batchnorm(model)
        if self.cfg.get('sync_bn') is not None:
            return convert_sync_batchnorm(model, self.cfg.sync_bn)
        return model

    def connect(self) -> None:
        """Join the child with its parent and methods, and find its sites.

        :meth:`train` does this itself. The child is the plain one before and
        after, and the runner's model.
        """
        if self.inheritance is not None:
            return
        self.inheritance = self.inherit(self.model)
        # What a validation before has loaded was the child alone.
        self._has_loaded = False
        self.trained = self._wrapped(self.inheritance)

    def _wrapped(self, inheritance: Inheritance) -> nn.Module:
        cfg = dict(self.cfg.get('model_wrapper_cfg') or {})
        kind = cfg.pop('type', 'MMDistributedDataParallel')
        wrapper = MODEL_WRAPPERS.get(kind) if isinstance(kind, str) else kind
        if wrapper is not MMDistributedDataParallel:
            raise ValueError(
                f'model_wrapper_cfg has the type {kind}, which mmhkt cannot '
                'train with: it would divide or rename the weights of the '
                'child. Leave the type out, for MMDistributedDataParallel.')
        if not self.distributed:
            return inheritance
        # A parameter that gets no gradient must be looked for: where a
        # schedule turns a term off, or where the config says so.
        unused = cfg.pop('find_unused_parameters',
                         self.cfg.get('find_unused_parameters', False))
        on_cpu = get_device() == 'cpu'
        return wrapper(
            module=inheritance,
            device_ids=None if on_cpu else [int(os.environ['LOCAL_RANK'])],
            find_unused_parameters=unused
            or any(method.turns_off() for method in inheritance.methods),
            **{
                'broadcast_buffers': False,
                **cfg
            })

    def inherit(self,
                child: nn.Module,
                image: Optional[torch.Tensor] = None,
                methods: Optional[List[Method]] = None) -> Inheritance:
        """Join child, parent and methods, as the config has them.

        Args:
            child (nn.Module): The plain child.
            image (Tensor, optional): For the dry run. Defaults to None, the
                first training image.
            methods (list[Method], optional): Defaults to None, the config's.
                Without any, to look at the networks only, there is a parent
                if the config has one.

        Returns:
            Inheritance: What the child is trained with.
        """
        # Streams of its own: the child's initial weights and everything drawn
        # later must not depend on what a method draws here.
        private = private_randomness(self.seed, 1)
        with private:
            if methods is None:
                methods = build_methods(self.cfg.get('method'))
            parent = None
            if any(method.needs_parent
                   for method in methods) or (not methods
                                              and self.cfg.get('parent')):
                parent = Parent.from_cfg(self.cfg.get('parent'))
                parent.connect(child, ImageFormat.of(child, self.cfg))
                parent.to(get_device())
        if image is None:
            # It may take a while, and a parent that does not fit has none.
            self._train_loop = self.build_train_loop(self._train_loop)
        with private:
            if image is None:
                image = self.example(child)
                for method in methods:
                    method.survey(self.train_dataloader.dataset)
            compile_cfg = self.cfg.get('compile') or None
            if compile_cfg is not None:
                compile_cfg = {} if compile_cfg is True else dict(compile_cfg)
                # Which method is compiled; here it is what lies between taps.
                compile_cfg.pop('target', None)
            return Inheritance(child, parent, methods, image,
                               self.cfg.get('task'), compile_cfg,
                               self._classes()).to(get_device())

    def _classes(self) -> Optional[Sequence[str]]:
        """Names of the classes of the training set, where it is built."""
        loader = self._train_dataloader
        if isinstance(loader, dict):
            return None
        meta = getattr(loader.dataset, 'metainfo', None) or {}
        return meta.get('classes')

    def _maybe_compile(self, target: str) -> None:
        """Nothing: compiled is what lies between the taps, and by those."""

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
        """Launch training; see the Runner.

        Raises:
            Diverged: If it would end with a child that is not finite.
        """
        if self._train_loop is not None:  # else it raises its own error
            self._take_up_seed()
            self.connect()
        try:
            return super().train()
        except Diverged as error:
            self.call_hook('on_divergence', error=error)
            raise

    @property
    def _searches(self) -> bool:
        """Whether what is resumed is looked for, not named."""
        return self._resume == 'auto' or self._load_from is None

    def _take_up_seed(self) -> None:
        """Go on with the seed of what will be resumed. mmengine does so when
        it has built the samplers, with another one."""
        if not self._resume:
            return
        for source in checkpoints(
                self.work_dir,
                self.cfg) if self._searches else [self._load_from]:
            try:
                checkpoint = read_checkpoint(source,
                                             self.cfg.get('trusted', False))
            except (OSError, ValueError):  # told when it is resumed
                continue
            meta = checkpoint.get('meta')
            seed = meta.get('seed') if isinstance(meta, dict) else None
            given = self._randomness_cfg.get('seed')
            if seed is not None and seed != given:
                if given is not None:
                    self.logger.warning(
                        f'The seed is {seed}, that of the resumed checkpoint, '
                        f'not {given} as the config has it.')
                self._randomness_cfg.update(seed=seed)
                self.set_randomness(**self._randomness_cfg)
            return

    def setup_env(self, env_cfg: Dict) -> None:
        """Set up the environment, distributed on CPU too."""
        on_cpu = get_device() == 'cpu'
        if self.distributed and on_cpu and not is_distributed():
            # init_dist of mmengine wants a CUDA device for every process.
            dist.init_process_group('gloo')
        super().setup_env(env_cfg)

    def build_train_loop(self, loop: Union[BaseLoop, Dict]) -> BaseLoop:
        """Build the loop over batches that depend on the seed alone.

        Raises:
            ValueError: If it is neither of mmengine's two.
        """
        if isinstance(loop, BaseLoop):
            return loop
        loop = dict(loop)
        by_epoch = loop.pop('by_epoch', True)
        kind = loop.pop('type', None) or ('EpochBasedTrainLoop' if by_epoch
                                          else 'IterBasedTrainLoop')
        known = LOOPS.get(kind) if isinstance(kind, str) else kind
        if known not in OUR_LOOPS:
            raise ValueError(
                f'train_cfg has the type {kind}, which cannot train with a '
                'parent: its steps are those of the child alone; valid: '
                'EpochBasedTrainLoop, IterBasedTrainLoop.')
        self._train_dataloader = self._sampling(
            'train_dataloader', self._train_dataloader, seed=self.seed)
        return super().build_train_loop({'type': OUR_LOOPS[known], **loop})

    def build_val_loop(self, loop: Union[BaseLoop, Dict]) -> BaseLoop:
        """Build the loop over checked samples."""
        self._val_dataloader = self._sampling('val_dataloader',
                                              self._val_dataloader)
        return super().build_val_loop(loop)

    def build_test_loop(self, loop: Union[BaseLoop, Dict]) -> BaseLoop:
        """Build the loop over checked samples."""
        self._test_dataloader = self._sampling('test_dataloader',
                                               self._test_dataloader)
        return super().build_test_loop(loop)

    def _sampling(self, name: str, loader, seed=None):
        if not isinstance(loader, dict):
            return loader
        diff_rank_seed = self._randomness_cfg.get('diff_rank_seed', False)
        loader = dict(loader)
        on_device = loader.pop('on_device', False)
        if on_device:
            # Nothing is left for workers to do.
            loader = {k: v for k, v in loader.items() if k not in FOR_WORKERS}
        built = self.build_dataloader(
            loader, seed=self.seed, diff_rank_seed=diff_rank_seed)
        _check_batches(name, built)
        given = dict(
            # Without a common seed of all ranks there is none to repeat.
            seed=None if diff_rank_seed else seed,
            check=self._check(name == 'train_dataloader'))
        if on_device:
            return BatchedLoader.of(built, get_device(), **given)
        return SampleLoader.of(built, **given)

    def _check(self, training: bool) -> Optional[Callable]:
        check = task_of(plain_network(self.model)).check(training)
        if check is None or not isinstance(self.model, BaseTTAModel):
            return check
        return partial(_check_views, check)

    def build_optim_wrapper(self, optim_wrapper) -> OptimWrapper:
        """Build the child's optimiser, as it would be alone, and let it
        train what the methods learn too, as one more group.

        Raises:
            TypeError: If there are several.
        """
        built = super().build_optim_wrapper(optim_wrapper)
        if not isinstance(built, OptimWrapper) or not hasattr(
                built, 'optimizer'):
            raise TypeError('InheritanceRunner trains with one optimiser, '
                            f'but got {type(built).__name__}.')
        if self.inheritance is not None:
            groups = built.optimizer.param_groups
            known = {id(p) for group in groups for p in group['params']}
            new = {
                name: p
                for name, p in self.inheritance.methods.named_parameters()
                if id(p) not in known
            }
            if new:
                group = dict(params=list(new.values()))
                if 'param_names' in groups[0]:  # all groups have them, or none
                    group['param_names'] = list(new)
                built.optimizer.add_param_group(group)
        return built

    def register_default_hooks(self,
                               hooks: Optional[Dict[str, Union[Hook,
                                                               Dict]]] = None):
        """Add the hooks of inheritance; a config can replace each by its
        name, or drop it by None."""
        hooks = dict(hooks or {})
        for name, hook_type in HOOKS_OF_OURS.items():
            hook = hooks.setdefault(name, {})
            if hook is None:
                hooks.pop(name)
            elif isinstance(hook, dict):
                hooks[name] = {'type': hook_type, **hook}
        super().register_default_hooks(hooks)

    def register_hook(self, hook: Union[Hook, Dict], priority=None) -> None:
        """Register a hook; in the place of mmengine's CheckpointHook that of
        ours, which has the same arguments."""
        if isinstance(hook, dict):
            kind = hook.get('type')
            if kind is CheckpointHook or (isinstance(kind, str) and
                                          HOOKS.get(kind) is CheckpointHook):
                hook = {**hook, 'type': SafeCheckpointHook}
        super().register_hook(hook, priority)

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Call the hooks; before each iteration seed everything.

        Dropout, mixup and the like then depend on seed, rank and iteration
        alone, whatever a method or an interruption did before.
        """
        if fn_name == 'before_train_iter':
            seed_everything(self.seed, self.rank, self.iter)
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_save_checkpoint' and self.inheritance:
            # After the hooks, so that nothing is added behind our back.
            transfer_part.set_aside(kwargs['checkpoint'], self.inheritance)
            for state in kwargs['checkpoint'].get('param_schedulers', ()):
                # A function, as OneCycleLR's state has one, could be read by
                # pickle only; the scheduler that resumes has its own.
                for key in [k for k, v in state.items() if callable(v)]:
                    del state[key]

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
        if self._resume:
            _check_resumable(checkpoint, filename,
                             bool(self.cfg.get('param_scheduler')))
        if self._resume and self.inheritance:
            transfer_part.put_back(checkpoint, self.inheritance)
        if revise_keys is None:
            revise_keys = self.cfg.get('revise_keys', STRIP_MODULE)
        weights = weights_of(checkpoint, revise_keys)
        # mmengine would run the text that stands there.
        checkpoint.get('meta', {}).pop('config', None)
        if 'state_dict' in checkpoint:
            checkpoint['state_dict'] = weights
        else:
            checkpoint = dict(state_dict=weights)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)

        if strict is None:
            strict = self._resume or self.inheritance is None
        if strict:
            load_strictly(
                plain_network(self.model), checkpoint['state_dict'],
                f'The checkpoint "{filename}"')
        else:
            _load_what_fits(self.model, checkpoint['state_dict'], self.logger,
                            filename)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def load_or_resume(self) -> None:
        """Load or resume; goes back to the newest whole checkpoint, and says
        so, where the one noted last is not there or damaged. Of
        ``resume='auto'`` a ``load_from`` is only where a run begins."""
        if not self._resume or not self._searches or self._has_loaded:
            super().load_or_resume()
            return
        there = checkpoints(self.work_dir, self.cfg)
        if not there:
            begins = self._load_from or 'the beginning'
            self.logger.info(f'No checkpoint in {self.work_dir} to resume; '
                             f'starting from {begins}.')
            self._resume = False
            if self._load_from is not None:
                super().load_or_resume()
            return
        for path in there:
            self._load_from = str(path)
            try:
                return super().load_or_resume()
            except Unreadable as error:
                self.logger.warning(f'{error} Going back to the one before.')
        raise Unreadable(
            f'No checkpoint in {self.work_dir} can be read: '
            f'{", ".join(path.name for path in there)}. To start from the '
            'beginning, remove them.')


def _check_views(check: Callable, sample: dict) -> None:
    """Check each of the views that test-time augmentation makes."""
    for view in zip(*sample.values()):
        check(dict(zip(sample, view)))


def plain_network(model: nn.Module) -> nn.Module:
    """A child, also one that is tested with augmentations."""
    return model.module if isinstance(model, BaseTTAModel) else model


def check_ours(runner: Runner) -> None:
    """Refuse a runner that has nothing to do with inheritance.

    Raises:
        ConfigError: If it is another one; says what its config lacks.
    """
    if not isinstance(runner, InheritanceRunner):
        raise ConfigError(
            f'config {runner.cfg.filename} is none of ours: add runner_type = '
            "'mmhkt.InheritanceRunner', a parent and a method")


def build_methods(cfg: Union[dict, List[dict], None]) -> List[Method]:
    """Build what a config has as ``method``.

    Args:
        cfg (dict | list[dict]): One method or several.

    Raises:
        ValueError: If there is none, or one is unknown or has no such
            setting; names the nearest that there is.
    """
    if cfg is None or cfg == {} or cfg == []:
        raise SettingError(
            "No method is given: add method=dict(type='mmhkt.HKT') to the "
            f'config; known: {", ".join(METHODS.module_dict)}.')
    methods = []
    for one in cfg if isinstance(cfg, (list, tuple)) else [cfg]:
        if not isinstance(one, dict):
            raise SettingError(
                "method must be dict(type='mmhkt.HKT', ...) or a list of "
                f'such, but got {shown(one)}.')
        settings = dict(one)
        settings.pop('_scope_', None)
        name = settings.pop('type', None)
        method = found_in(METHODS, name)
        if not inspect.isclass(method) or not issubclass(method, Method):
            known = [f'mmhkt.{known}' for known in METHODS.module_dict]
            raise ValueError(
                f'There is no method "{name}"; {nearest(str(name), known)}.')
        check(method, settings, name_of(method))
        methods.append(method(**settings))
    return methods


def _load_what_fits(network: nn.Module, weights: dict, logger,
                    filename: str) -> None:
    own = network.state_dict()
    fitting = {
        k: v
        for k, v in weights.items() if k in own and v.shape == own[k].shape
    }
    if not fitting:
        raise ValueError('load_from holds no weight of the child; '
                         f'{nearest(next(iter(weights), ""), own)}.')
    check_finite(network, fitting, f'The checkpoint "{filename}"')
    left = [k for k in own if k not in fitting]
    if left:
        logger.warning(f'load_from leaves {len(left)} weights of the child '
                       f'as initialised: {", ".join(left[:6])}')
    network.load_state_dict({**own, **fitting})


def _check_resumable(checkpoint: dict, filename: str, schedules: bool) -> None:
    meta = checkpoint.get('meta')
    missing = [
        name for name, there in {
            'meta.epoch and meta.iter':
            isinstance(meta, dict) and all(
                type(meta.get(key)) is int for key in ('epoch', 'iter')),
            'message_hub':
            isinstance(checkpoint.get('message_hub'), dict),
            'optimizer':
            isinstance(checkpoint.get('optimizer'), dict),
            'param_schedulers':
            not schedules or isinstance(
                checkpoint.get('param_schedulers'), (list, tuple, dict)),
            'state_dict':
            isinstance(checkpoint.get('state_dict'), dict),
        }.items() if not there
    ]
    if missing:
        raise ValueError(
            f'The checkpoint "{filename}" cannot be resumed: it has no '
            f'{", ".join(missing)}. (What is kept as the best, or exported, '
            'holds weights alone.) Resume the last checkpoint of that run, or '
            'give this one as load_from, to start from its weights.')


def _check_batches(name: str, loader: DataLoader) -> None:
    """Of validation only that there are samples: of a few some processes may
    have none."""
    try:
        count = len(loader.dataset)
        endless = isinstance(loader.sampler, InfiniteSampler)
        if name == 'train_dataloader' and not endless:
            count = len(loader)
    except TypeError:  # what has no length is not asked for it
        return
    if not count:
        raise ConfigError(
            f'{name} gives no batch: {len(loader.dataset)} sample(s) for '
            f'{get_world_size()} process(es), batch_size {loader.batch_size}, '
            f'drop_last {loader.drop_last}')
