# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt export`` does: the plain child of any checkpoint."""
import ast
from argparse import Namespace
from pathlib import Path
from typing import Optional

from mmengine.config import Config

from mmhkt.utils import (STRIP_MODULE, load_strictly, read_checkpoint,
                         weights_of)
from mmhkt.utils.config import CONFIG_ERRORS, ConfigError, load_config, require
from mmhkt.utils.registered import check_registered
from .build import build_network
from .export import export_child, plain_config


def run(args: Namespace) -> None:
    """Do what the command line says."""
    try:
        print(export(args))
    except (*CONFIG_ERRORS, OSError, ValueError) as error:
        raise SystemExit(f'mmhkt: {error}') from None


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


def check_target(args: Namespace) -> None:
    """Refuse to write where something else would be lost."""
    out = Path(args.out)
    if out.is_dir() or out.suffix in ('', '.py'):
        raise ConfigError(
            f'"{args.out}" is no name for a checkpoint; give one that ends '
            'in .pth')
    given = [Path(args.checkpoint)]
    if args.config is not None:
        given.append(Path(args.config))
    for path in given:
        for target in (out, out.with_suffix('.py')):
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
