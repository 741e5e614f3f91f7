# Copyright (c) mmhkt authors. All rights reserved.
from functools import partial
from typing import Any, Callable, Iterator

from mmengine.dist import get_rank
from torch.utils.data import Dataset, Sampler

from mmhkt.registry import DATA_SAMPLERS, DATASETS
from mmhkt.utils import seed_cpu
from .checked import CheckedDataset


class SeededIndex(int):
    """An index that carries the key of its sample's random numbers."""

    key: tuple

    def __new__(cls, index: int, key: tuple) -> 'SeededIndex':
        self = super().__new__(cls, index)
        self.key = key
        return self

    def __reduce__(self):
        return type(self), (int(self), self.key)


@DATA_SAMPLERS.register_module()
class SeededSampler(Sampler):
    """Numbers what a sampler draws, so that augmentations can be repeated.

    With :class:`SeededDataset` a training batch depends on seed, epoch and
    its number in the epoch alone: neither on how many random numbers
    anything else has drawn, nor on the number of workers, nor on whether the
    run was interrupted.

    Args:
        sampler (dict): Config of the sampler.
        dataset (Dataset): What is sampled.
        seed (int, optional): Seed of the run.
    """

    def __init__(self, sampler: dict, dataset: Dataset, seed: int = None):
        self.sampler = DATA_SAMPLERS.build(
            sampler, default_args=dict(dataset=dataset, seed=seed))
        # Without a common seed of all ranks there is none to repeat.
        self.seed = seed
        self.epoch = 0
        self.skipped = 0

    def __iter__(self) -> Iterator[int]:
        if self.seed is None:
            yield from self.sampler
            return
        for number, index in enumerate(self.sampler, self.skipped):
            yield SeededIndex(index,
                              (self.seed, self.epoch, get_rank(), number))

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, as samplers of OpenMMLab are told."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def __getattr__(self, name: str) -> Any:
        if name == 'sampler':
            raise AttributeError(name)
        value = getattr(self.sampler, name)
        # Loops that resume skip where the sampler can; those samples count.
        return partial(self._skip, value) if name == 'skip' else value

    def _skip(self, skip: Callable[[int], None], num_samples: int) -> None:
        self.skipped = num_samples
        skip(num_samples)


@DATASETS.register_module()
class SeededDataset(CheckedDataset):
    """Seeds the random numbers of every sample by its own key.

    See :class:`SeededSampler`. Otherwise it is the data set that it holds.

    Args:
        dataset, check: See :class:`CheckedDataset`.
    """

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, SeededIndex):
            seed_cpu(*index.key)
        return super().__getitem__(index)
