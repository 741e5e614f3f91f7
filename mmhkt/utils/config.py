# Copyright (c) mmhkt authors. All rights reserved.
"""What every tool does between its command line and a runner."""
import logging
import os.path as osp
import re
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any, List, Optional, Sequence

import mmengine.logging
import torch
from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.config.utils import MODULE2PACKAGE, ConfigParsingError
from mmengine.device import get_device
from mmengine.dist import barrier, is_distributed
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from .names import nearest, type_name


class ConfigError(ValueError):
    """A config that cannot do what the command line asks of it."""


def quieten() -> None:
    """Silence what the libraries say on import that no user can act on.

    Only for tools: it changes process-wide settings.
    """
    warnings.filterwarnings('ignore', message='.*torch.jit')
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScale')
    # of mmseg, on its own configs
    for message in ('DeprecationWarning: pretrained is', 'The draw is False',
                    'Default ``avg_non_ignore`` is False'):
        warnings.filterwarnings('ignore', message=message)
    print_log = mmengine.logging.print_log

    def print_log_of_level(msg, logger=None, level=logging.INFO) -> None:
        # Without a logger the original prints whatever the level, among it
        # the debug message that the optional package OneDL is not there.
        if logger is not None or level >= logging.INFO:
            print_log(msg, logger, level)

    mmengine.logging.print_log = print_log_of_level


def _spell(path: Path) -> str:
    """A config's path as one would type it."""
    folder, inside, name = path.as_posix().partition('/.mim/configs/')
    if inside:
        return f'{Path(folder).name}::{name}'
    relative = osp.relpath(path)
    return str(path) if relative.startswith('..') else relative


def _candidates(path: Path) -> List[str]:
    """Files as deep below the last folder that exists as ``path`` would be."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    depth = len(path.relative_to(folder).parts)
    pattern = '/'.join(['*'] * (depth - 1) + [f'*{path.suffix or ".py"}'])
    return [_spell(found) for found in sorted(folder.glob(pattern))]


def _explain(path: str, error: FileNotFoundError) -> str:
    """Say which file a config misses and what is there in its place."""
    # mmengine and `open` both quote the path, each in its own way.
    quoted = re.search(r'["\'](.+?)["\']', str(error))
    if quoted is None:
        return f'config {path}: {error}'
    missing = Path(osp.normpath(quoted[1]))
    if '.mim' in missing.parts:
        mim = Path(str(missing).partition('.mim')[0], '.mim')
        if not mim.exists():
            return (f'{mim.parent.name} was not installed, so its configs are '
                    f'not found: run "pip install -e ." next to {mim.parent}')
    what = f'there is no config {_spell(missing)}'
    if missing != Path(osp.normpath(path)) and '::' not in path:
        what += f', on which {path} is based'
    hint = nearest(_spell(missing), _candidates(missing), most=3)
    return f'{what}; {hint}'


def _resolve(path: str) -> str:
    """Turn ``package::dir/name.py`` into a path, leave others alone.

    ``Config.fromfile`` understands this notation in ``_base_`` only.
    """
    if '::' not in path:
        return path
    package = path.partition('::')[0]
    if package not in MODULE2PACKAGE:
        raise ConfigError(f'no package "{package}" with configs is known; '
                          f'{nearest(package, MODULE2PACKAGE)}')
    try:
        return Config._get_cfg_path(path, '')[0]
    except ValueError as error:
        raise ConfigError(f'config {path}: {error}') from None


def _rescope(node, scope: str) -> None:
    """Look the names in our own base configs up in their default scope.

    mmengine marks everything that comes from ``_base_ = 'mmhkt::...'`` as
    named in the scope mmhkt. But those configs name what is OpenMMLab's as
    its own configs do, and only what is ours with ``mmhkt.`` before it.
    """
    if isinstance(node, dict):
        if node.get('_scope_') == 'mmhkt':
            node['_scope_'] = scope
        for value in node.values():
            _rescope(value, scope)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _rescope(value, scope)


def _spelled(node: Any) -> Any:
    """Classes and functions that a config imports, by their dotted names.

    So that a config that names them reads like one of strings: it can be
    written to a file again, and a hook be asked for its name. Registries find
    what is named so.
    """
    if isinstance(node, dict):
        return {key: _spelled(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(map(_spelled, node))
    if isinstance(node, (LazyAttr, LazyObject)):
        found = node.build()
        return f'{node.module}.{node}' if callable(found) else found
    return node


def _find_parent(cfg: Config, path: str) -> None:
    """Make a relative ``parent.config`` one that can be opened from here.

    It is looked for beside the config, beside those that it is based on, and
    from the working directory.

    Raises:
        FileNotFoundError: If it is nowhere; names where it was looked for.
    """
    parent = cfg.get('parent')
    name = parent.get('config') if isinstance(parent, dict) else None
    if (not isinstance(name, str) or '::' in name or not name.endswith('.py')
            or osp.isabs(name)):
        return
    folders = [osp.dirname(file) for file in _chain(osp.abspath(path))]
    for folder in dict.fromkeys([*folders, '']):
        if osp.isfile(osp.join(folder, name)):
            parent.config = osp.normpath(osp.join(folder, name))
            return
    looked = ', '.join(osp.relpath(f) for f in dict.fromkeys(folders))
    hint = nearest(
        name, [
            osp.relpath(found, folder or '.') for folder in [*folders, '']
            for found in _candidates(Path(folder, name))
        ],
        most=3)
    raise FileNotFoundError(
        f'config {path}: there is no parent.config {name} (looked in {looked} '
        f'and the working directory); {hint}')


def _chain(path: str) -> List[str]:
    """A config and all that it is based on."""
    found = [path]
    for base in Config._get_base_files(path):
        found += _chain(Config._get_cfg_path(base, path)[0])
    return found


def load_config(path: str,
                options: Optional[dict] = None,
                custom_imports: bool = True) -> Config:
    """Load a config.

    Args:
        path (str): A file, or ``package::dir/name.py`` for a config that an
            installed package brings.
        options (dict, optional): Settings that override the file's.
        custom_imports (bool): Whether what the config names as
            ``custom_imports`` is imported. Defaults to True.

    Returns:
        Config: The config with the options merged into it.

    Raises:
        FileNotFoundError: If the file or one of its bases does not exist. The
            message is one line and ends with the nearest names that do.
        ConfigError: If a package is unknown, or the options do not fit the
            config.
    """
    path = str(path)
    try:
        cfg = Config.fromfile(
            _resolve(path), import_custom_modules=custom_imports)
    except FileNotFoundError as error:
        raise FileNotFoundError(_explain(path, error)) from None
    except AssertionError as error:
        # How mmengine refuses `_base_ = 'unknown::...'`.
        if 'does not support to load' not in str(error):
            raise
        raise ConfigError(f'config {path}: {error}') from None
    except SyntaxError as error:
        # `<unknown>` is the config itself, not a module that it imports.
        if error.filename != '<unknown>':
            raise
        raise ConfigError(
            f'config {path}, line {error.lineno}: {error.msg}') from None
    except (ConfigParsingError, ImportError) as error:
        # Of what it is based on, or has imported.
        raise ConfigError(f'config {path}: {error}') from error
    for key, value in cfg._to_lazy_dict().items():
        cfg[key] = _spelled(value)
    _rescope(cfg._cfg_dict, cfg.get('default_scope', 'mmpretrain'))
    _find_parent(cfg, _resolve(path))
    try:
        cfg.merge_from_dict(options or {})
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f'--cfg-options: {error.args[0]}') from None
    return cfg


def require(cfg: Config, names: Sequence[str]) -> None:
    """Refuse a config, such as one of ``_base_``, that is only a part."""
    absent = [name for name in names if cfg.get(name) is None]
    if absent:
        raise ConfigError(f'config {cfg.filename} has no {", ".join(absent)}')


def set_work_dir(cfg: Config, path: str, work_dir: Optional[str]) -> None:
    """Set where a run writes: command line, else config, else its name.

    Args:
        cfg (Config): Changed in place.
        path (str): The config's path.
        work_dir (str, optional): What the command line says.
    """
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('./work_dirs', Path(path).stem)


def set_dataloader_defaults(cfg: Config,
                            names: Sequence[str],
                            no_pin_memory: bool = False,
                            no_persistent_workers: bool = False) -> None:
    """Give dataloaders what mmpretrain's tools give them.

    Args:
        cfg (Config): Changed in place.
        names (Sequence[str]): Which dataloaders.
        no_pin_memory (bool): Turn ``pin_memory`` off, whatever the config
            says. Defaults to False.
        no_persistent_workers (bool): The same for ``persistent_workers``.
            Defaults to False.
    """
    for name in names:
        loader = cfg.get(name)
        if loader is None:
            continue
        loader.setdefault('pin_memory', get_device() != 'cpu')
        # torch refuses workers that persist where there are none.
        loader.setdefault('persistent_workers',
                          loader.get('num_workers', 0) > 0)
        if cfg.get('default_scope') != 'mmseg':
            # mmseg's images may differ in size, so they cannot be stacked.
            loader.setdefault('collate_fn', dict(type='default_collate'))
        if no_pin_memory:
            loader.pin_memory = False
        if no_persistent_workers:
            loader.persistent_workers = False


def set_amp(cfg: Config, amp: bool = False) -> None:
    """Choose the mixed precision that this machine can do.

    mmengine's ``AmpOptimWrapper`` refuses to run without an accelerator; its
    place is then taken by autocast to bfloat16, which needs no loss scaling.

    Args:
        cfg (Config): Changed in place.
        amp (bool): Turn mixed precision on. Defaults to False, which only
            fits a config that turns it on to the machine.
    """
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        return
    if amp:
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    if type_name(wrapper) == 'AmpOptimWrapper' and get_device() == 'cpu':
        wrapper.type = 'mmhkt.AutocastOptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(key, None)


def is_ours(cfg: Config) -> bool:
    """Whether a config is one of a run that inherits."""
    kind = cfg.get('runner_type')
    # Python configs have the class, or where it is from.
    return type_name(dict(type=kind)) == 'InheritanceRunner'


def merge_train_args(cfg: Config, args: Namespace) -> None:
    """Merge the command line of ``tools/train.py`` into a config.

    Args:
        cfg (Config): Changed in place.
        args (Namespace): What the tool's parser returns.

    Raises:
        ConfigError: If the config lacks what a flag is about.
    """
    require(cfg, ('model', 'train_cfg', 'train_dataloader', 'optim_wrapper'))
    cfg.launcher = args.launcher
    set_work_dir(cfg, args.config, args.work_dir)
    set_amp(cfg, args.amp)
    set_dataloader_defaults(
        cfg, ('train_dataloader', 'val_dataloader', 'test_dataloader'),
        args.no_pin_memory, args.no_persistent_workers)

    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.resume == 'auto':
        cfg.resume = True
        if is_ours(cfg):
            # Where nothing is there to resume, it starts from `load_from`.
            cfg.resume = 'auto'
        else:
            cfg.load_from = None
    elif args.resume is not None:
        cfg.resume = True
        cfg.load_from = args.resume
    if args.auto_scale_lr:
        if cfg.get('auto_scale_lr') is None:
            raise ConfigError(
                '--auto-scale-lr: the config does not say for which batch '
                'size its learning rate is; set auto_scale_lr = '
                'dict(base_batch_size=...)')
        cfg.auto_scale_lr.enable = True


def merge_test_args(cfg: Config, args: Namespace) -> None:
    """Merge the command line of ``tools/test.py`` into a config.

    Args:
        cfg (Config): Changed in place.
        args (Namespace): What the tool's parser returns.

    Raises:
        ConfigError: If the config lacks what a flag is about.
    """
    require(cfg, ('model', 'test_cfg', 'test_dataloader', 'test_evaluator'))
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    cfg.resume = False
    set_work_dir(cfg, args.config, args.work_dir)
    set_amp(cfg)
    set_dataloader_defaults(cfg, ('test_dataloader', ), args.no_pin_memory)
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show or args.show_dir is not None:
        _turn_on_drawing(cfg, args)
    if args.tta:
        _turn_on_tta(cfg)


def _turn_on_drawing(cfg: Config, args: Namespace) -> None:
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ConfigError(
            '--show, --show-dir: the config has no default_hooks.'
            'visualization; set it to dict(type="VisualizationHook")')
    hook.update(
        show=args.show, wait_time=args.wait_time, interval=args.interval)
    if hook.type.endswith('SegVisualizationHook'):
        # mmseg's hook has no folder of its own, its visualizer has.
        hook.draw = True
        if args.show_dir is not None:
            cfg.visualizer.save_dir = args.show_dir
    else:
        hook.enable = True
        hook.out_dir = args.show_dir


def _turn_on_tta(cfg: Config) -> None:
    pipeline = cfg.test_dataloader.dataset.get('pipeline')
    if cfg.get('tta_model') is None:
        if cfg.get('default_scope') == 'mmseg':
            raise ConfigError(
                '--tta: the config has no tta_model; set it to '
                'dict(type="SegTTAModel"), and tta_pipeline with it')
        cfg.tta_model = dict(type='mmpretrain.AverageClsScoreTTA')
    if cfg.get('tta_pipeline') is None:
        if not pipeline:
            raise ConfigError('--tta: the config has neither tta_pipeline '
                              'nor test_dataloader.dataset.pipeline')
        # The last step packs; the image is packed as it is and flipped.
        flips = [dict(type='RandomFlip', prob=prob) for prob in (1., 0.)]
        cfg.tta_pipeline = pipeline[:-1] + [
            dict(type='TestTimeAug', transforms=[flips, [pipeline[-1]]])
        ]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


def build_runner(cfg: Config) -> Runner:
    """Build the runner that a config asks for, mmengine's if it asks none."""
    if cfg.get('runner_type') is not None:
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)


def leave_process_group() -> None:
    """End a distributed run, all processes together.

    A process that leaves the threads of its group to the interpreter's exit
    is aborted now and then, and torchrun then takes down the others.
    """
    if is_distributed():
        barrier()
        torch.distributed.destroy_process_group()


def plain(node: Any) -> Any:
    """A config's value as plain data, without mmengine's notes of the scope
    that a name is from."""
    if isinstance(node, Config):
        node = node.to_dict()
    if isinstance(node, dict):
        return {k: plain(v) for k, v in node.items() if k != '_scope_'}
    if isinstance(node, (list, tuple)):
        return [plain(value) for value in node]
    return node if isinstance(node, (int, float, type(None))) else str(node)


def flat(node: Any, prefix: str = '') -> dict:
    """Plain data as one dict: ``a.b.0`` -> value."""
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    else:
        return {prefix[:-1]: node}
    found = {} if node else {prefix[:-1]: str(node)}
    for key, value in items:
        found.update(flat(value, f'{prefix}{key}.'))
    return found
