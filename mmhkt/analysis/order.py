# Copyright (c) mmhkt authors. All rights reserved.
"""In which order images are shown, and which of them a map is fitted on."""
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from mmengine.dataset import BaseDataset, ConcatDataset
from torch.utils.data import BatchSampler, DataLoader

from mmhkt.datasets.sample_loader import twin

# What part of a set is for, see ExplainedVariance: one after the other of its
# volumes, say, is fitted on, chooses the ridge, is fitted on, judges.
TURNS = (0, 1, 0, 2)
# Where neither volumes nor scenes are known: few, since what lies at the
# borders of two is alike.
BLOCKS = 8


class Order(NamedTuple):
    """Images in the order in which they are shown.

    Args:
        positions (ndarray): Where in the data set each is, (N, ).
        folds (ndarray): What each is for, (N, ), see
            :class:`ExplainedVariance`.
        held_out (str): What was held out as a whole, in words.
    """
    positions: np.ndarray
    folds: np.ndarray
    held_out: str


def shuffled(loader: DataLoader,
             images: Optional[int] = None,
             seed: int = 0) -> Tuple[DataLoader, Order]:
    """The same loader, its data set in a random order.

    Folders of images are in the order of their classes: batch by batch, as
    :class:`MinibatchCKA` sees them, they would lack what sets classes apart,
    and the first of them would be of a few classes only.

    Args:
        loader (DataLoader): Over a data set with indices.
        images (int, optional): How many; of volumes, whole ones until there
            are so many slices. Defaults to None, all.
        seed (int): Of the order. Defaults to 0.

    Returns:
        tuple[DataLoader, Order]: What :func:`observe` takes.
    """
    rng = np.random.default_rng(seed)
    infos = _infos(loader.dataset)
    order = rng.permutation(len(loader.dataset))
    if images is not None:
        order = _first(order, images, infos)
    chosen = np.sort(order)
    folds, held_out = _folds(len(chosen), [infos[i] for i in chosen if infos])
    shown = [int(i) for i in order]
    batches = BatchSampler(shown, loader.batch_size or 1, drop_last=False)
    loader = twin(
        loader,
        type(loader),
        sampler=shown,
        batch_sampler=batches,
        _iterator=None)
    return loader, Order(order, folds[np.searchsorted(chosen, order)],
                         held_out)


def as_they_come(loader: DataLoader) -> Order:
    """The order of a loader of which no more is known."""
    count = len(loader.dataset)
    return Order(np.arange(count), *_folds(count, []))


def cut_volumes(loader: DataLoader) -> List[str]:
    """The volumes of which a data set has some slices only."""
    volumes = _volumes(_infos(loader.dataset))
    sizes = {
        name: int(of_it[0][1]['slices'])
        for name, of_it in volumes.items()
    }
    return [name for name in volumes if len(volumes[name]) < sizes[name]]


def _infos(dataset) -> List[dict]:
    """What a data set knows of its images without reading them; nothing where
    it is of another kind."""
    if isinstance(dataset, ConcatDataset):
        parts = [_infos(one) for one in dataset.datasets]
        return sum(parts, []) if all(parts) else []
    if not isinstance(dataset, BaseDataset):
        return []
    # Its own method may read the image.
    return [BaseDataset.get_data_info(dataset, i) for i in range(len(dataset))]


def _volumes(infos: Sequence[dict]) -> Dict[str, List[Tuple[int, dict]]]:
    volumes: Dict[str, List[Tuple[int, dict]]] = {}
    for i, info in enumerate(infos):
        if 'volume' in info and 'slices' in info:
            volumes.setdefault(str(info['volume']), []).append((i, info))
    return volumes


def _first(order: np.ndarray, images: int,
           infos: Sequence[dict]) -> np.ndarray:
    """So many of an order; of volumes whole ones, which alone have a score."""
    volumes = _volumes(infos)
    if not volumes:
        return order[:images]
    chosen: Dict[str, int] = {}
    for i in order:
        if sum(chosen.values()) >= images:
            break
        name = str(infos[i]['volume'])
        chosen[name] = len(volumes[name])
    return np.array([i for i in order if str(infos[i]['volume']) in chosen])


def _folds(count: int, infos: Sequence[dict]) -> Tuple[np.ndarray, str]:
    """What each of some images is for.

    Neighbours in a volume or a film are alike, so that what was fitted on one
    knows the other: none is held out from among those that are fitted on.
    """
    for key, words in (('volume', 'whole volumes'), ('scene', 'whole scenes')):
        names = [info.get(key) for info in infos]
        turns = {name: i for i, name in enumerate(dict.fromkeys(names))}
        if len(turns) >= len(TURNS) and None not in turns:
            return _turn(np.array([turns[name] for name in names])), words
    # In the order of classes, blocks of all images would be whole classes.
    labels = [info.get('gt_label') for info in infos]
    known = labels and all(isinstance(x, (int, np.integer)) for x in labels)
    classes = np.array(labels if known else [0] * count)
    blocks = np.zeros(count, int)
    for i, label in enumerate(np.unique(classes)):
        places = np.flatnonzero(classes == label)
        # From class to class the next block is the first one: classes of one
        # image would all be fitted on else.
        blocks[places] = i + np.arange(len(places)) * BLOCKS // len(places)
    return _turn(blocks), 'blocks of consecutive images' + (' of each class'
                                                            if known else '')


def _turn(numbers: np.ndarray) -> np.ndarray:
    return np.array(TURNS)[numbers % len(TURNS)]
