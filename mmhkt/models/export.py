# Copyright (c) mmhkt authors. All rights reserved.
from pathlib import Path
from typing import Any, Dict, Optional, Union

import mmengine
import torch
from mmengine.config import Config
from torch import Tensor

from mmhkt.utils.files import replaced
from mmhkt.version import __version__

# What a config needs to build, test and deploy a network.
PLAIN_KEYS = ('custom_imports', 'default_scope', 'model', 'data_preprocessor',
              'test_pipeline', 'test_dataloader', 'test_evaluator', 'test_cfg')


def export_child(state_dict: Dict[str, Tensor],
                 cfg: Config,
                 path: Union[str, Path],
                 dataset_meta: Optional[dict] = None,
                 **meta: Any) -> Path:
    """Write the plain child: weights, config and metadata, nothing else.

    Args:
        state_dict (dict[str, Tensor]): The child's weights.
        cfg (Config): Of the run.
        path (str | Path): The file to write; beside it goes a ``.py`` config
            of the plain child.
        dataset_meta (dict, optional): Names of the classes and so on.
        **meta: More to note, for instance ``epoch``.

    Returns:
        Path: The file written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = plain_config(cfg)
    checkpoint = dict(
        meta=dict(
            cfg=plain.pretty_text,
            dataset_meta=dataset_meta,
            mmengine_version=mmengine.__version__,
            mmhkt_version=__version__,
            **{
                'method': str(cfg.get('method')),
                **meta
            }),
        state_dict={
            name: value.detach().cpu().clone()
            for name, value in state_dict.items()
        })
    with replaced(path) as partial:
        torch.save(checkpoint, partial)
    plain.dump(str(path.with_suffix('.py')))
    return path


def plain_config(cfg: Config) -> Config:
    """A run's config without the parent and all that only training needs."""
    return Config(
        {key: cfg[key]
         for key in PLAIN_KEYS if cfg.get(key) is not None})
