# Copyright (c) mmhkt authors. All rights reserved.
import copy
import json
import shutil
from pathlib import Path
from typing import List

import torch
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from torch import nn

from mmhkt.models import build_network, task_of
from mmhkt.registry import HOOKS
from mmhkt.utils import private_randomness
from mmhkt.utils.files import PARTIAL, write_text
from mmhkt.utils.hashing import unwrapped
from mmhkt.utils.settings import Number
from mmhkt.visualization.examples import Painter, painter_of
from .common import hereditary, weights_to_keep

FOLDER = 'examples'
UNFINISHED = f'{FOLDER}{PARTIAL}'
INDEX = 'examples.json'


@HOOKS.register_module()
class ExamplesHook(Hook):
    """Pictures of what the child, and its parent, make of a few images.

    After training, samples spread evenly over the test set (the validation
    set, where there is none) are predicted by the plain child with the
    weights that a checkpoint would have, and by the parent if the run has
    one. What is drawn goes as PNG to the folder ``examples`` in the work
    directory, with an index, ``examples.json``; the folder is there whole or
    not at all. Segmentation and optical flow are drawn, of other tasks there
    are no pictures.

    The training is over and recorded by then, and nothing of it is touched:
    the child is built anew, random numbers are drawn from streams of its
    own, and what goes wrong is a warning.

    Args:
        number (int): How many samples, 0 for none. Defaults to 4.

    Raises:
        ValueError: If the number is no whole number from 0 on.
    """

    # Together with the RecordHook, and after it where it is listed after it:
    # a run that is killed while it draws is finished, and the memory that
    # drawing takes is not the training's.
    priority = 'LOWEST'

    def __init__(self, number: Number = 4):
        self.number = number

    @master_only
    def after_train(self, runner) -> None:
        """Draw."""
        if self.number == 0:
            return
        target = Path(runner.work_dir, FOLDER)
        partial = target.with_name(UNFINISHED)
        try:
            with private_randomness(0), torch.no_grad():
                _draw(runner, self.number, partial)
            if partial.exists():
                shutil.rmtree(target, ignore_errors=True)
                partial.rename(target)
        except Exception as error:  # whatever it is, the training is done
            runner.logger.warning('No examples were drawn: '
                                  f'{type(error).__name__}: {error}')
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _draw(runner, number: int, folder: Path) -> None:
    model = hereditary(runner)
    trained = unwrapped(runner.model)
    task = task_of(trained).name
    if not Painter.draws(task):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    dataset = _dataset(runner)
    painter = painter_of(task, getattr(dataset, 'metainfo', {}))
    child = _plain_child(runner)
    parent = model.parent if model else None
    samples = []
    for position in spread(number, len(dataset)):
        packed = dataset[position]
        stem = folder / f'{len(samples):02d}'
        painter.begin(packed)
        drawn = dict(
            name=painter.name,
            image=painter.image(stem),
            truth=painter.truth(stem))
        drawn['child'] = painter.prediction(
            child.test_step(_batch(packed))[0], stem, 'child')
        if parent is not None:
            data = child.data_preprocessor(_batch(packed), False)
            predicted, = parent(
                data['inputs'], data['data_samples'], mode='predict')
            drawn['parent'] = painter.prediction(predicted, stem, 'parent')
        samples.append(drawn)
    index = dict(task=task, **painter.legend(), samples=samples)
    write_text(folder / INDEX, json.dumps(index, indent=1))


def spread(number: int, length: int) -> List[int]:
    """So many positions in a sequence, spread evenly.

    The first samples of a data set are often of one film or one volume, and
    look the same.
    """
    number = min(number, length)
    return [(2 * i + 1) * length // (2 * number) for i in range(number)]


def _batch(packed: dict) -> dict:
    # Networks write their predictions into the samples that they are given.
    return pseudo_collate([copy.deepcopy(packed)])


def _dataset(runner):
    loader = runner.cfg.get('test_dataloader')
    val = runner.cfg.get('val_dataloader')
    if runner.val_loop is not None and (loader is None or loader['dataset']
                                        == val['dataset']):
        return runner.val_dataloader.dataset
    if loader is None:
        raise ValueError('there is neither a test nor a validation set')
    return DATASETS.build(loader['dataset'])


def _plain_child(runner) -> nn.Module:
    child = build_network(runner.cfg)
    child.load_state_dict(weights_to_keep(runner))
    return child.to(get_device()).eval()
