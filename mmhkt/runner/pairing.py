# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt pair`` does: join child and parent as training would."""
import tempfile
from argparse import Namespace
from typing import List, Optional, Sequence

from mmengine.config import Config
from mmengine.device import get_device
from rich.console import Console
from rich.table import Table

from mmhkt.inheritance import QUARTERS
from mmhkt.models import Inheritance
from mmhkt.models.image_format import random_images
from mmhkt.models.pairing import pairing
from mmhkt.utils.config import (ConfigError, build_runner, load_config,
                                set_dataloader_defaults)
from .inheritance_runner import check_ours


def run(args: Namespace) -> None:
    """Do what the command line says."""
    cfg = load_config(args.config, args.cfg_options)
    if args.random_parent:
        forget_checkpoint(cfg)
    if args.list:
        shown = listings(join(cfg, args.shape, methods=[]))
    else:
        joined = join(cfg, args.shape)
        shown = [pairing(joined), *joined.halves]
    # Rather wrapped by a narrow terminal than cut off.
    console = Console(width=max(120, Console().width))
    for part in shown:
        console.print(part, markup=False)


def listings(joined: Inheritance) -> List[Table]:
    """What can be typed as sites, a table for each network.

    Args:
        joined (Inheritance): Child and parent.
    """
    tables = []
    for extraction in joined.extractions():
        dissection, trunk = extraction.dissection, extraction.trunk
        marks = {
            dissection.canonical(stage.site): f'stage {i}'
            for i, stage in enumerate(
                trunk.evenly(min(QUARTERS, len(trunk.blocks))) if trunk.
                plain else trunk.stages, 1)
        }
        for site, what in ((extraction.head_site, 'head'),
                           (extraction.logits_site, 'logits')):
            if site is not None:
                marks.setdefault(dissection.canonical(site), what)
        table = Table(
            title=f'Sites of the {dissection.role} '
            f'({type(dissection.network).__name__})',
            caption='Single layers, and by @in what a module is given, can be '
            'typed too.',
            caption_justify='left')
        for column in ('path', 'shape', ''):
            table.add_column(column, no_wrap=column == 'path')
        for site, layout in dissection.listed().items():
            table.add_row(site, str(layout), marks.get(site, ''))
        tables.append(table)
    return tables


def forget_checkpoint(cfg: Config) -> None:
    """Give the config's parent random weights."""
    if cfg.get('parent') is None:
        raise ConfigError('--random-parent: the config has no parent')
    for name in ('checkpoint', 'revise_keys', 'trusted'):
        cfg.parent.pop(name, None)
    cfg.parent.random_weights = True


def join(cfg: Config,
         shape: Optional[Sequence[int]] = None,
         methods: Optional[list] = None) -> Inheritance:
    """Child, parent and methods as training would begin with them.

    Args:
        cfg (Config): Of a run.
        shape (Sequence[int], optional): Height and width of a random image.
            Defaults to None, an image of the training set.
        methods (list[Method], optional): How the child inherits. Defaults to
            None, as the config has it.

    Returns:
        Inheritance: What would be trained.
    """
    cfg.log_level = 'ERROR'
    set_dataloader_defaults(cfg, ('train_dataloader', ))
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        runner = build_runner(cfg)
        check_ours(runner)
        if shape is not None:
            image = random_images(runner.model, 1, shape).to(get_device())
            return runner.inherit(runner.model, image, methods)
        try:
            runner.train_loop  # reads the training set
        except OSError as error:
            raise ConfigError(
                f'the training set cannot be read ({error}); with '
                '--shape H W it is not needed') from None
        return runner.inherit(runner.model, methods=methods)
