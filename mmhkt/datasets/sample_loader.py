# Copyright (c) mmhkt authors. All rights reserved.
import logging
from functools import partial
from itertools import count
from typing import Any, Callable, Iterable, Iterator, Optional, Tuple

from mmengine.dist import get_rank
from mmengine.logging import print_log
from torch.utils.data import (DataLoader, Dataset, IterableDataset,
                              get_worker_info)

from mmhkt.utils import seed_cpu


class Told:
    """What a loop has told the sampler, which need not keep it."""
    epoch = 0
    skipped = 0

    def listen(self, loader: DataLoader) -> None:
        """Note what the sampler of a loader is told from now on."""
        # A batch sampler of the user's own holds the user's sampler.
        sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
        # Also where the sampler itself has no use for the epoch: loops tell
        # it to those only that have such a method.
        sampler.set_epoch = partial(self._note, 'epoch',
                                    getattr(sampler, 'set_epoch', None))
        # Loops skip at once only where the sampler can.
        if hasattr(sampler, 'skip'):
            sampler.skip = partial(self._note, 'skipped', sampler.skip)

    def _note(self, name: str, method: Optional[Callable], *args,
              **kwargs) -> None:
        number, = *args, *kwargs.values()
        setattr(self, name, number)
        if method is not None:
            method(*args, **kwargs)


class SampleLoader(DataLoader):
    """A data loader that seeds and checks each sample where it is fetched.

    Data set, sampler and batch sampler are the user's own objects, as in a
    plain data loader: what a hook writes to them takes effect. Built by
    :meth:`of` from the plain data loader that the runner has made.

    With a seed, the random numbers that a sample's augmentation draws depend
    on ``(seed, epoch, rank, number)`` alone: neither on what else has drawn
    random numbers, nor on the number of workers, nor on whether the run was
    interrupted. ``epoch`` is the one that a loop told the sampler, ``number``
    counts the samples of the rank in the epoch; of an endless sampler, from
    the start of the run.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> from mmhkt.datasets import SampleLoader
        >>> numbers = [3, 1, 2]
        >>> loader = SampleLoader.of(DataLoader(numbers), seed=0, check=print)
        >>> loader.dataset is numbers
        True
    """

    seed: Optional[int] = None
    check: Optional[Callable[[Any], None]] = None
    _told = Told()

    @classmethod
    def of(cls,
           loader: DataLoader,
           seed: Optional[int] = None,
           check: Optional[Callable[[Any], None]] = None) -> DataLoader:
        """The same loader, its samples seeded and checked.

        Args:
            loader (DataLoader): A plain one, as mmengine's
                ``Runner.build_dataloader`` makes it. The new one takes over
                all that it has and is used in its place. One that cannot be
                seeded and checked sample by sample (over an iterable data
                set, or of a class of the user's own) is given back as it is,
                with a warning.
            seed (int, optional): Seed of the run, the same in all ranks.
                Defaults to None, nothing is seeded: for validation and
                testing, and for ``diff_rank_seed``.
            check (Callable, optional): Is given every sample, in the process
                that fetched it, and raises an error if something is wrong
                with it. Defaults to None.

        Returns:
            DataLoader: To be used instead of ``loader``.
        """
        if isinstance(loader, cls) or seed is None and check is None:
            return loader
        if type(loader) is not DataLoader or isinstance(
                loader.dataset, IterableDataset):
            print_log(
                f'The samples of a {type(loader).__name__} over a '
                f'{type(loader.dataset).__name__} are neither seeded nor '
                'checked; a plain DataLoader over a data set with indices '
                'would be.',
                logger='current',
                level=logging.WARNING)
            return loader
        told = Told()
        if seed is not None:
            told.listen(loader)
        return twin(
            loader, cls, seed=seed, check=check, _told=told, _iterator=None)

    def _get_iterator(self):
        # One of torch's own, over a plain loader that fetches samples by
        # their keyed indices.
        batched = self.batch_sampler is not None
        name = 'batch_sampler' if batched else 'sampler'
        changes = {
            'dataset': _Fetch(self.dataset, self.check),
            name: _KeyedIndices(getattr(self, name), batched, self.seed,
                                self._told),
            'worker_init_fn': partial(_init_worker, self.worker_init_fn)
        }  # yapf: disable
        return twin(self, DataLoader, **changes)._get_iterator()


def twin(one: Any, cls: type, **changes) -> Any:
    """An object of a class with all that another has but for the changes: a
    loader, whatever torch's version, or a data sample."""
    # Without __init__, whose arguments exclude each other.
    twin = cls.__new__(cls)
    vars(twin).update(vars(one), **changes)
    return twin


class _KeyedIndices:
    """Gives each index together with the key of its random numbers."""

    def __init__(self, sampler: Iterable, batched: bool, seed: Optional[int],
                 told: Told):
        self.sampler = sampler
        self.batched = batched
        self.seed = seed
        self.told = told

    def __iter__(self) -> Iterator:
        numbers = count(self.told.skipped)
        for drawn in self.sampler:
            if self.batched:
                yield [(index, self._key(next(numbers))) for index in drawn]
            else:
                yield drawn, self._key(next(numbers))

    def __len__(self) -> int:
        return len(self.sampler)

    def _key(self, number: int) -> Optional[Tuple[int, ...]]:
        if self.seed is None:
            return None
        return self.seed, self.told.epoch, get_rank(), number


class _Fetch:
    """Fetches samples by their keyed indices; the worker's part."""

    def __init__(self, dataset: Dataset, check: Optional[Callable]):
        self.dataset = dataset
        self.check = check

    def __getitem__(self, keyed: Tuple[Any, Optional[tuple]]) -> Any:
        index, key = keyed
        if key is not None:
            seed_cpu(*key)
        sample = self.dataset[index]
        if self.check is not None:
            self.check(sample)
        return sample


def _init_worker(init: Optional[Callable[[int], None]],
                 worker_id: int) -> None:
    """Let the worker, too, know the user's data set as its own."""
    info = get_worker_info()
    # Through vars, since it refuses to be assigned to.
    vars(info)['dataset'] = info.dataset.dataset
    if init is not None:
        init(worker_id)
