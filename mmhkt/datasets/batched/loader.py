# Copyright (c) mmhkt authors. All rights reserved.
import random
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement
from mmpretrain.datasets.transforms import PackInputs
from torch import Tensor
from torch.utils.data import DataLoader

from mmhkt.utils.random import generator_of, private_randomness
from mmhkt.utils.settings import SettingError
from ..sample_loader import Told, twin
from .transforms import BATCHED, BatchedTransform, Unbatched

# Images that are run twice, to see whether a transform is random.
TRIED = 3


class BatchedLoader(DataLoader):
    """A data loader that holds all images on one device and augments batches.

    Built by :meth:`of` from the plain data loader that the runner has made;
    data set, sampler and batch sampler are the user's own objects.

    The data set's pipeline is taken apart, once: what is not random in front
    is done image by image, with its own transforms, and kept; what is random
    is done by counterparts of whole batches (:data:`BATCHED`), equal in
    distribution; :class:`mmpretrain.datasets.PackInputs` ends it. A pipeline
    that a hook exchanges is taken apart anew.

    With a seed, what a batch's augmentation draws depends on ``(seed, epoch,
    rank, number)`` alone, where ``number`` counts the rank's samples before it
    in the epoch; see :class:`mmhkt.datasets.SampleLoader`. Its batches are
    others than those of that loader.

    Each batch has data samples of its own, whose fields can be set; their
    tensors are the kept ones.

    Examples:
        >>> from mmengine.runner import Runner
        >>> from mmhkt.datasets.batched import BatchedLoader
        >>> plain = Runner.build_dataloader(
        ...     dict(
        ...         dataset=dict(
        ...             type='mmhkt.Digits',
        ...             pipeline=[
        ...                 dict(type='mmpretrain.RandomCrop', crop_size=8,
        ...                      padding=1),
        ...                 dict(type='mmpretrain.PackInputs')
        ...             ]),
        ...         sampler=dict(type='DefaultSampler'),
        ...         batch_size=64))
        >>> loader = BatchedLoader.of(plain, torch.device('cpu'), seed=0)
        >>> next(iter(loader))['inputs'].shape
        torch.Size([64, 3, 8, 8])
    """

    device = torch.device('cpu')
    seed: Optional[int] = None
    check: Optional[Callable[[Any], None]] = None
    _told = Told()
    _pipeline: Any = None

    @classmethod
    def of(cls,
           loader: DataLoader,
           device: torch.device,
           seed: Optional[int] = None,
           check: Optional[Callable[[Any], None]] = None) -> 'BatchedLoader':
        """The same loader, with its images on a device.

        Args:
            loader (DataLoader): A plain one, as mmengine's
                ``Runner.build_dataloader`` makes it.
            device (torch.device): Where the images are kept and augmented.
            seed (int, optional): Seed of the run, the same in all ranks.
                Defaults to None, nothing is seeded.
            check (Callable, optional): Is given every sample, once. Defaults
                to None.

        Raises:
            SettingError: If the pipeline, or the kind of loader or data set,
                has no counterpart; names what it is.
        """
        told = Told()
        if seed is not None:
            told.listen(loader)
        built = twin(
            loader,
            cls,
            device=torch.device(device),
            seed=seed,
            check=check,
            _told=told)
        if loader.batch_sampler is None:
            raise _refused('a loader without batches')
        built._lay_out()
        return built

    def __iter__(self) -> Iterator[dict]:
        if self.dataset.pipeline is not self._pipeline:
            self._lay_out()
        return self._batches()

    def _batches(self) -> Iterator[dict]:
        number = self._told.skipped
        for indices in self.batch_sampler:
            yield self._batch(list(indices), number)
            number += len(indices)

    def _batch(self, indices: List[int], number: int) -> Dict[str, Any]:
        chosen = torch.tensor(indices).to(self.device, non_blocking=True)
        images = self._images.index_select(0, chosen)
        if self._random:
            draw = torch.default_generator
            if self.seed is not None:
                draw = generator_of(self.seed, self._told.epoch, get_rank(),
                                    number)
            for transform in self._random:
                images = transform(images, draw)
        # Models write to them, mmpretrain's to the labels: each time anew.
        samples = [_fresh(self._samples[i]) for i in indices]
        return dict(inputs=images, data_samples=samples)

    def _lay_out(self) -> None:
        fixed, self._random, pack = _parts(self.dataset)
        packed = [
            pack(fixed(self.dataset.get_data_info(i)))
            for i in range(len(self.dataset))
        ]
        if self.check is not None:
            for sample in packed:
                self.check(sample)
        self._images = _stacked([p['inputs'] for p in packed],
                                bool(self._random)).to(self.device)
        self._samples = [p['data_samples'] for p in packed]
        if self._random:
            self._try_out()
        self._pipeline = self.dataset.pipeline
        size = self._images.numel() * self._images.element_size() / 2**20
        print_log(
            f'{len(packed)} images, {size:.0f} MiB, are kept on '
            f'{self.device}; batched: '
            f'{", ".join(type(t).__name__ for t in self._random) or "none"}.',
            logger='current')

    def _try_out(self) -> None:
        """What one batch shows: the size of the images that come out."""
        images = self._images[:1]
        for transform in self._random:
            images = transform(images, generator_of(0))
        for sample in self._samples:
            sample.set_metainfo(dict(img_shape=tuple(images.shape[2:])))


def _fresh(sample: BaseDataElement) -> BaseDataElement:
    """A copy with the same tensors, whose fields can be set."""
    return twin(
        sample,
        type(sample),
        _data_fields=set(sample._data_fields),
        _metainfo_fields=set(sample._metainfo_fields))


def _parts(dataset) -> tuple:
    """What a data set's pipeline does once, at random, and at the end."""
    pipeline = getattr(dataset, 'pipeline', None)
    transforms = list(getattr(pipeline, 'transforms', ()))
    if not transforms or not hasattr(dataset, 'get_data_info'):
        raise _refused(f'a {type(dataset).__name__}, which has no pipeline '
                       'of its own')
    *transforms, pack = transforms
    if type(pack) is not PackInputs:
        raise _refused(f'a pipeline that ends with {type(pack).__name__}, '
                       "not with mmpretrain's PackInputs")
    fixed: list = []
    while transforms and _is_fixed(transforms[0], fixed, dataset):
        fixed.append(transforms.pop(0))
    return Compose(fixed), [_batched(one) for one in transforms], pack


def _is_fixed(transform, before: Sequence, dataset) -> bool:
    """Whether a transform makes the same of an image each time: it says so,
    and does so."""
    if type(transform) in BATCHED or getattr(transform,
                                             '_methods_with_randomness', ()):
        return False
    for i in range(min(TRIED, len(dataset))):
        made = []
        for seed in (0, 1):
            with private_randomness(seed):
                results = Compose(before)(dataset.get_data_info(i))
                state = _drawn()
                made.append(
                    torch.as_tensor(np.asarray(transform(results)['img'])))
                if _drawn() != state:
                    return False
        # One may draw from a generator of its own.
        if made[0].shape != made[1].shape or not torch.equal(*made):
            return False
    return True


def _drawn() -> tuple:
    """How far the generators are that transforms draw from."""
    _, keys, *place = np.random.get_state()
    return (random.getstate(), keys.tobytes(), place,
            torch.get_rng_state().numpy().tobytes())


def _batched(transform) -> BatchedTransform:
    kind = type(transform)
    if kind not in BATCHED:
        raise _refused(
            f'{kind.__name__}, which has no counterpart for batches (known: '
            f'{", ".join(sorted(known.__name__ for known in BATCHED))}; what '
            'is not random can stand in front of those)')
    try:
        return BATCHED[kind](transform)
    except Unbatched as error:
        raise _refused(
            f'{error}, which has no counterpart for batches') from None


def _stacked(images: List[Tensor], random: bool) -> Tensor:
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise _refused('images of several sizes, '
                       f'{" and ".join(map(str, sorted(shapes)[:2]))} (C, H, '
                       'W); begin the pipeline with a Resize')
    if random and images[0].dtype != torch.uint8:
        raise _refused(f'{images[0].dtype} images with random transforms, '
                       'which are made for uint8')
    return torch.stack(images)


def _refused(what: str) -> SettingError:
    return SettingError(
        f'on_device=True cannot serve {what}. Leave it out, to load image by '
        'image.')
