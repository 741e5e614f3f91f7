# Copyright (c) mmhkt authors. All rights reserved.
"""Each counterpart against mmpretrain's transform of one image."""
import numpy as np
import pytest
import torch
from mmcv.transforms import RandomFlip
from mmpretrain.datasets.transforms import (ColorJitter, Cutout, RandomCrop,
                                            RandomErasing)

from mmhkt.datasets.batched import BATCHED
from mmhkt.datasets.batched.transforms import Unbatched
from mmhkt.utils import seed_cpu
from mmhkt.utils.random import generator_of

# How often an image is transformed for a distribution, and how far two shares
# of that many draws may be apart: five standard errors of their difference.
DRAWS = 2000
APART = 5 * (2 * 0.25 / DRAWS)**0.5


def image(height=6, width=7):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def batch_of(img, count):
    return torch.from_numpy(img).permute(2, 0, 1).expand(count, -1, -1, -1)


def one_by_one(transform, img, count=DRAWS):
    """(count, H, W, 3)."""
    seed_cpu(1)
    return np.stack(
        [transform(dict(img=img.copy()))['img'] for _ in range(count)])


def together(transform, img, count=DRAWS):
    """(count, H, W, 3)."""
    batched = BATCHED[type(transform)](transform)
    images = batch_of(img, count)
    before = images.clone()
    found = batched(images, generator_of(2))
    assert torch.equal(images, before)  # is not written to
    assert found.dtype == torch.uint8
    return found.permute(0, 2, 3, 1).numpy()


def shares(images):
    """How often each different image occurs."""
    kinds, counts = np.unique(
        images.reshape(len(images), -1), axis=0, return_counts=True)
    return {kind.tobytes(): n for kind, n in zip(kinds, counts / len(images))}


def alike(transform, img):
    """As good as the same images, as often."""
    one, other = (shares(f(transform, img)) for f in (one_by_one, together))
    assert set(one) == set(other)
    for kind, share in one.items():
        assert abs(share - other[kind]) < APART


@pytest.mark.parametrize('settings', [
    dict(crop_size=(4, 5)),
    dict(crop_size=(6, 7), padding=1),
    dict(crop_size=(6, 7), padding=(1, 0), pad_val=9),
    dict(crop_size=(5, 7), padding=(2, 0, 0, 1), pad_val=(1, 2, 3)),
    dict(crop_size=8, pad_if_needed=True),
    dict(crop_size=8, pad_if_needed=True, padding_mode='edge'),
    dict(crop_size=8, pad_if_needed=True, padding_mode='reflect'),
    dict(crop_size=(9, 4)),  # taller than the image
], ids=str)  # yapf: disable
def test_crops(settings):
    alike(RandomCrop(**settings), image())


@pytest.mark.parametrize('settings', [
    dict(prob=0.5),
    dict(prob=0.3, direction='vertical'),
    dict(prob=0.6, direction=['horizontal', 'diagonal']),
    dict(prob=[0.2, 0.5], direction=['horizontal', 'vertical']),
    dict(prob=1.0),
    dict(prob=0.0),
], ids=str)  # yapf: disable
def test_flips(settings):
    alike(RandomFlip(**settings), image())


@pytest.mark.parametrize('transform', [
    Cutout(3, prob=0.7),
    Cutout((2, 4), pad_val=(1, 2, 3), prob=1.0),
    RandomErasing(0.4, 0.1, 0.4),
    RandomErasing(1.0, 0.2, 0.3, mode='const', fill_color=(1, 2, 3)),
], ids=repr)  # yapf: disable
def test_holes(transform):
    """Each pixel is as often in the hole; the hole has the same colours and
    as often the same area."""
    img = image(8, 9)
    masks = []
    for found in (one_by_one(transform, img), together(transform, img)):
        masks.append((found != img).any(3))
        colours = {tuple(colour) for colour in found[masks[-1]]}
        assert len(colours) == 1
    assert np.abs(masks[0].mean(0) - masks[1].mean(0)).max() < APART
    areas = [mask.sum((1, 2)) for mask in masks]
    assert set(areas[1]) <= set(range(73))
    for area in np.unique(areas[0]):
        parts = [(a <= area).mean() for a in areas]
        assert abs(parts[0] - parts[1]) < APART


@pytest.mark.parametrize('std', [None, (30.0, 20.0, 10.0)])
def test_holes_with_noise(std):
    transform = RandomErasing(
        1.0, 0.3, 0.4, mode='rand', fill_color=(128, 100, 90), fill_std=std)
    img = np.zeros((8, 9, 3), np.uint8)
    moments = []
    for found in (one_by_one(transform, img), together(transform, img)):
        noise = found[(found != img).any(3)].astype(float)
        moments.append((noise.mean(0), noise.std(0)))
    assert np.allclose(*moments, atol=1.0)


def test_each_image_is_drawn_for_itself():
    found = together(RandomCrop(4), image(), 64)
    assert len(shares(found)) > 8


ORDERS = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]]


@pytest.mark.parametrize('factors', [(0.6, 1.4, 0.5), (1.7, 0.4, 1.9),
                                     (1.0, 1.0, 1.0)])
@pytest.mark.parametrize('order', ORDERS, ids=str)
def test_colours_are_those_of_pil(order, factors, monkeypatch):
    transform = ColorJitter(0.9, 0.9, 0.9)
    img = image(16, 16)
    monkeypatch.setattr(transform, '_rand_params', lambda:
                        ([*order, 3], *factors, None))
    expected = transform(dict(img=img.copy()))['img']

    batched = BATCHED[ColorJitter](transform)
    ranks = torch.tensor([[order.index(i) for i in range(3)]]).float()
    monkeypatch.setattr(
        'mmhkt.datasets.batched.transforms.torch.rand',
        lambda *size, **_: ranks.argsort(1).float()
        if len(size) == 2 else None)
    drawn = iter(factors)
    monkeypatch.setattr('mmhkt.datasets.batched.transforms._uniform',
                        lambda *_: torch.tensor([next(drawn)]))
    # An order is what sorts the numbers drawn.
    monkeypatch.setattr(torch.Tensor, 'argsort',
                        lambda *_: torch.tensor([order]))
    found = batched(batch_of(img, 1), generator_of(0))
    assert np.array_equal(found[0].permute(1, 2, 0).numpy(), expected)


def test_colours_are_as_often():
    transform = ColorJitter(0.4, contrast=0.5, saturation=(0.5, 1.0))
    img = image(4, 4)
    found = [f(transform, img).astype(float) for f in (one_by_one, together)]
    for statistic in (np.mean, np.std):
        one, other = (statistic(f, 0) for f in found)
        assert np.abs(one - other).max() < 8
    assert abs(found[0].mean() - found[1].mean()) < 2


@pytest.mark.parametrize(
    'transform, what', [
        (RandomCrop(4, padding_mode='symmetric'), 'symmetric'),
        (ColorJitter(hue=0.1), 'hue'),
        (ColorJitter(0.1, backend='cv2'), 'cv2'),
        (Cutout(magnitude_range=(1, 2), magnitude_level=5), 'magnitude_range'),
    ],
    ids=['symmetric', 'hue', 'backend', 'magnitude'])
def test_settings_without_a_counterpart(transform, what):
    with pytest.raises(Unbatched, match=what):
        BATCHED[type(transform)](transform)
