# Copyright (c) mmhkt authors. All rights reserved.
import copy

import pytest
import torch
from helpers import CONFIGS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.models import ClsDataPreprocessor

from mmhkt.models import ImageFormat, Parent, Renormalise, channel_order_of
from mmhkt.models.image_format import normalisation_of
from mmhkt.utils.config import load_config

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
HALF = dict(mean=[127.5, 120.0, 130.0], std=[127.5, 100.0, 90.0])


def preprocessed(images, **settings):
    return ClsDataPreprocessor(**settings)(dict(inputs=images))['inputs']


@pytest.mark.parametrize('child, parent', [
    (dict(IMAGENET, to_rgb=True), dict(HALF, to_rgb=True)),
    (dict(IMAGENET, to_rgb=True), dict(HALF, to_rgb=False)),
    (dict(HALF, to_rgb=False), dict(IMAGENET, to_rgb=True)),
    (dict(), dict(IMAGENET, to_rgb=True)),
    (dict(IMAGENET), dict()),
    (dict(), dict()),
])
def test_renormalised_as_if_the_parent_had_loaded_it(child, parent):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 5, 6)).float()
    flip = child.get('to_rgb', False) != parent.get('to_rgb', False)
    renormalise = Renormalise(
        normalisation_of(ClsDataPreprocessor(**child)),
        normalisation_of(ClsDataPreprocessor(**parent)), flip)
    ours = renormalise(preprocessed(images, **child))
    theirs = preprocessed(images, **parent)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_same_normalisation_is_bit_equal():
    images = torch.rand(2, 3, 4, 4)
    same = normalisation_of(ClsDataPreprocessor(**IMAGENET))
    assert Renormalise(same, same)(images) is images


def test_mixed_images_stay_exact():
    """Mixup and CutMix happen before: affine maps commute with them."""
    torch.manual_seed(0)
    a, b = torch.randint(0, 256, (2, 3, 4, 4)).float()
    renormalise = Renormalise(
        normalisation_of(ClsDataPreprocessor(**IMAGENET)),
        normalisation_of(ClsDataPreprocessor(**HALF)))

    def mix(settings):
        one, two = (preprocessed(x[None], **settings) for x in (a, b))
        return 0.3 * one + 0.7 * two

    torch.testing.assert_close(renormalise(mix(IMAGENET)), mix(HALF))


@pytest.mark.parametrize('path, order', [
    ('mmpretrain::resnet/resnet18_8xb16_cifar10.py', 'rgb'),
    ('mmpretrain::resnet/resnet18_8xb32_in1k.py', 'rgb'),
    (str(CONFIGS / 'alone/resnet20_digits.py'), 'rgb'),
])
def test_channel_order(path, order):
    assert channel_order_of(load_config(path)) == order


def test_channel_order_of_files_without_conversion():
    cfg = load_config('mmpretrain::resnet/resnet18_8xb32_in1k.py')
    cfg.data_preprocessor.to_rgb = False
    assert channel_order_of(cfg) == 'bgr'


def test_channel_order_without_data_is_unknown():
    assert channel_order_of(Config(dict(model=dict()))) is None


@pytest.fixture
def parent():
    parent = Parent(
        str(CONFIGS / 'alone/resnet8-narrow_digits.py'), random_weights=True)
    parent.connect(parent.network, ImageFormat.of(parent.network, order='rgb'))
    return parent


def test_frozen_for_good(parent):
    parent.train()
    assert not any(m.training for m in parent.modules())
    assert not any(p.requires_grad for p in parent.parameters())


def test_copies_share_it(parent):
    assert copy.deepcopy(parent) is parent


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmseg'])
def test_inline_model(scope):
    cfg = load_config(CONFIGS / 'alone/resnet8-narrow_digits.py')
    model = cfg.model.to_dict()
    model['type'] = 'mmpretrain.ImageClassifier'
    for part in ('neck', 'head'):
        model[part]['type'] = f'mmpretrain.{model[part]["type"]}'
    with DefaultScope.overwrite_default_scope(scope):
        parent = Parent(dict(model=model), random_weights=True)
    assert parent.channel_order is None
    assert parent.network.head.num_classes == 10


def test_input_size():
    parent = Parent(
        str(CONFIGS / 'alone/resnet8-narrow_digits.py'),
        random_weights=True,
        input_size=(16, 12))
    parent.connect(parent.network, ImageFormat.of(parent.network, order='rgb'))
    assert parent.images(torch.rand(2, 3, 8, 8)).shape == (2, 3, 16, 12)
    flat = parent.images(torch.full((1, 3, 8, 8), 0.25))
    torch.testing.assert_close(flat, torch.full((1, 3, 16, 12), 0.25))


@pytest.mark.parametrize('order', ['RGB', 'grb', 3])
def test_an_order_of_channels_that_there_is_not(order):
    """It would be taken for another one, and the channels be reversed."""
    with pytest.raises(ValueError, match='Parent: channel_order .*rgb'):
        Parent(
            str(CONFIGS / 'alone/resnet8-narrow_digits.py'),
            random_weights=True,
            channel_order=order)
