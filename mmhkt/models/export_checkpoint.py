# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt export`` does: the plain child of any checkpoint."""
import ast
from argparse import Namespace
from pathlib import Path
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from rich.console import Console
from rich.table import Table

from mmhkt.utils import (STRIP_MODULE, load_strictly, read_checkpoint,
                         weights_of)
from mmhkt.utils.config import ConfigError, load_config, require
from mmhkt.utils.registered import check_registered
from mmhkt.utils.timing import medians
from . import onnx
from .build import build_network
from .export import export_child, plain_config
from .image_format import random_images
from .parent import Parent


def run(args: Namespace) -> None:
    """Do what the command line says."""
    print(export(args))


def export(args: Namespace) -> str:
    """Export, and sum up in a line what was done."""
    check_target(args)
    checkpoint = read_checkpoint(args.checkpoint, args.trusted)
    meta = checkpoint.get('meta') or {}
    if args.config is not None:
        cfg = load_config(args.config)
    else:
        cfg = config_in(meta, args.checkpoint, args.trusted)
    require(cfg, ('model', ))
    weights = weights_of(checkpoint, cfg.get('revise_keys', STRIP_MODULE))
    network = build(plain_config(cfg))
    load_strictly(network, weights, f'The checkpoint "{args.checkpoint}"')

    if Path(args.out).suffix == '.onnx':
        return as_onnx(args, cfg, network, meta.get('dataset_meta') or {})
    path = export_child(
        weights,
        cfg,
        args.out,
        dataset_meta=meta.get('dataset_meta'),
        **{name: meta[name]
           for name in ('epoch', 'iter') if name in meta})
    parameters = sum(p.numel() for p in network.parameters())
    return (f'{args.checkpoint} ({size_of(args.checkpoint)}) -> {path} '
            f'({size_of(path)}), {parameters:,} parameters')


def as_onnx(args: Namespace, cfg: Config, network, dataset_meta: dict) -> str:
    """Write ONNX, check it, and show what the child costs."""
    onnx.check_installed()
    images = (
        samples(cfg, network) if args.shape is None else random_images(
            network, 4, args.shape))
    path = onnx.export_onnx(
        network,
        Path(args.out),
        images[:1],
        meta=dict(classes=list(dataset_meta.get('classes') or ())))
    batches = [images[:1], images]
    difference = onnx.largest_difference(network, path, batches)
    Console().print(
        cost_table(network, path, images[:1], parent_of(args, cfg)))
    kind = 'real' if args.shape is None else 'random'
    text = (f'{args.checkpoint} -> {path} ({size_of(path)}); largest '
            f'difference to the network on {kind} images, batches of '
            f'{" and ".join(str(len(b)) for b in batches)}: {difference:.1e}')
    if not difference <= 1e-4:
        path.unlink()
        raise ConfigError(f'{text}, more than 1e-4: the file is not kept')
    return text


def samples(cfg: Config, network, most: int = 4) -> torch.Tensor:
    """The first test images, as the network's data preprocessor makes them;
    those that have the first one's size. If that is the first one alone, its
    mirror image is the second."""
    require(cfg, ('test_dataloader', ))
    with DefaultScope.overwrite_default_scope(
            cfg.get('default_scope', 'mmpretrain')):
        try:
            dataset = DATASETS.build(cfg.test_dataloader.dataset)
        except OSError as error:
            raise ConfigError(f'the test set cannot be read ({error}); with '
                              '--shape H W it is not needed') from None
        images = [
            network.data_preprocessor(pseudo_collate([dataset[i]]),
                                      False)['inputs']
            for i in range(min(most, len(dataset)))
        ]
    alike = [i for i in images if i.shape == images[0].shape]
    return torch.cat(alike if len(alike) > 1 else [*alike, alike[0].flip(-1)])


def parent_of(args: Namespace, cfg: Config):
    """The parent's network, for its costs; None where there is none, or where
    an untrusted checkpoint names a file of its own choice."""
    config = (cfg.get('parent') or {}).get('config')
    if config is None or not (args.config or args.trusted
                              or '::' in str(config)):
        return None
    return Parent(config, random_weights=True).network


def cost_table(network, path: Path, image: torch.Tensor, parent) -> Table:
    """Parameters, operations and milliseconds, the parent's beside them."""
    run, array = onnx.session(path), image.numpy()
    networks = {'child': network}
    if parent is not None:
        networks['parent'] = parent
    steps = {
        name: lambda _, one=one: onnx.deployed(one, image)
        for name, one in networks.items()
    }
    times = medians({
        **steps, 'child, onnxruntime': lambda _: run(array)
    }, range(6), 1)
    table = Table(
        title='One image of ' + 'x'.join(map(str, image.shape[1:])),
        caption=f'medians of 5 on CPU, {torch.get_num_threads()} threads')
    for column in ('', 'parameters', 'FLOPs', 'ms'):
        table.add_column(column, justify='right' if column else 'left')
    for name, seconds in times.items():
        cost = onnx.complexity(networks[name.partition(',')[0]], image)
        table.add_row(name, f'{cost["parameters"]:,}', f'{cost["flops"]:,}',
                      f'{1000 * seconds:.2f}')
    return table


def check_target(args: Namespace) -> None:
    """Refuse to write where something else would be lost."""
    out = Path(args.out)
    if out.is_dir() or out.suffix in ('', '.py'):
        raise ConfigError(
            f'"{args.out}" is no name for a checkpoint; give one that ends '
            'in .pth or .onnx')
    given = [Path(args.checkpoint)]
    if args.config is not None:
        given.append(Path(args.config))
    # Beside a .pth file goes a config.
    written = [out] if out.suffix == '.onnx' else [out, out.with_suffix('.py')]
    for path in given:
        for target in written:
            if path.resolve() == target.resolve():
                raise ConfigError(f'"{path}" would be overwritten; export to '
                                  'another name')


def config_in(meta: dict, source: str, trusted: bool) -> Config:
    """The config that a checkpoint holds as text.

    Such a text is a program. Unless it is trusted it is read and not run: it
    has to consist of plain values, as those do that mmengine writes.
    """
    text: Optional[str] = meta.get('cfg')
    if not isinstance(text, str):
        raise ConfigError(f'the checkpoint "{source}" holds no config; give '
                          'it by --config')
    if trusted:
        return Config.fromstring(text, '.py')
    try:
        cfg = Config({
            statement.targets[0].id: value_of(statement.value)
            for statement in ast.parse(text).body
        })
    except (AttributeError, SyntaxError, TypeError, ValueError):
        raise ConfigError(
            f'the config in the checkpoint "{source}" is more than plain '
            'values and would have to be run; give --config, or --trusted if '
            'you trust its author') from None
    if cfg.get('custom_imports') is not None:
        raise ConfigError(
            f'the config in the checkpoint "{source}" imports '
            f'{cfg.custom_imports.get("imports")}; give --config, or '
            '--trusted if you trust its author')
    check_registered(cfg.to_dict(), f'the config in the checkpoint "{source}"')
    return cfg


def value_of(node: ast.expr):
    """A plain value, as ``ast.literal_eval`` but with ``dict(a=1)``."""
    if isinstance(node, ast.Call):
        # Where a key is no name, mmengine writes `dict({'a.b': 1})`.
        entries = [value_of(item) for item in node.args]
        entries += [{word.arg: value_of(word.value)} for word in node.keywords]
        value = {key: entry[key] for entry in entries for key in entry}
        if node.func.id != 'dict' or None in value:
            raise ValueError('more than a plain value')
        return value
    if isinstance(node, ast.Dict):
        return {
            ast.literal_eval(key): value_of(value)
            for key, value in zip(node.keys, node.values)
        }
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [value_of(item) for item in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    return ast.literal_eval(node)


def build(cfg: Config):
    """The network that a plain config describes."""
    try:
        return build_network(cfg)
    except KeyError as error:  # an unknown type
        raise ConfigError(error.args[0]) from None


def size_of(source) -> str:
    path = Path(source)
    return f'{path.stat().st_size:,} bytes' if path.is_file() else 'remote'
