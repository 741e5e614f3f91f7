# Copyright (c) mmhkt authors. All rights reserved.
"""Channels, order and normalisation of images, wherever it is done."""
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import ClsDataPreprocessor
from torch import nn

from mmhkt.models import ImageFormat, Renormalise, channel_order_of

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
LOAD = dict(type='LoadImageFromFile')
# torchvision's way, in the pipeline.
TENSOR = [
    LOAD,
    dict(type='NumpyToPIL', to_rgb=True),
    dict(type='torchvision/ToTensor'),
    dict(
        type='torchvision/Normalize',
        mean=[m / 255 for m in MEAN],
        std=[s / 255 for s in STD])
]  # yapf: disable


class Network(nn.Module):

    def __init__(self, channels=3, **preprocessor):
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 1)
        self.data_preprocessor = ClsDataPreprocessor(**preprocessor)


def config(*steps, **preprocessor):
    return Config(
        dict(
            model=dict(data_preprocessor=preprocessor),
            test_dataloader=dict(dataset=dict(pipeline=list(steps)))))


def form(*steps, channels=3, **preprocessor):
    return ImageFormat.of(
        Network(channels, **preprocessor), config(*steps, **preprocessor))


IN_PREPROCESSOR = dict(mean=MEAN, std=STD, to_rgb=True)


def test_a_pipeline_that_normalises_is_as_a_preprocessor_that_does():
    one, other = form(LOAD, **IN_PREPROCESSOR), form(*TENSOR)
    assert one.order == other.order == 'rgb'
    for values in zip(one.normalisation, other.normalisation):
        torch.testing.assert_close(*values)
    x = torch.rand(2, 3, 4, 4)
    for pair in ((one, other), (other, one)):
        torch.testing.assert_close(Renormalise.between(*pair)(x), x)


def test_mmcvs_step_turns_channels_before_it_normalises():
    step = dict(type='Normalize', mean=MEAN, std=STD, to_rgb=True)
    found = form(LOAD, step)
    assert found.order == 'rgb'
    assert found.normalisation[0].tolist() == MEAN


def test_in_the_pipeline_and_again_in_the_preprocessor():
    """(x / 255 - 0.5) / 0.25 on the values of the file, in the order of the
    network: reversed after the pipeline."""
    step = dict(type='Normalize', mean=[0, 10, 20], std=[1, 2, 4])
    found = form(LOAD, step, mean=[1, 2, 3], std=[2, 2, 2], to_rgb=True)
    # BGR (x - [0, 10, 20]) / [1, 2, 4] is RGB (x - [20, 10, 0]) / [4, 2, 1].
    assert found.order == 'rgb'
    assert found.normalisation[0].tolist() == [20 + 4, 10 + 4, 3]
    assert found.normalisation[1].tolist() == [8, 4, 2]


def test_a_step_that_is_not_known_is_refused_unless_both_have_it():
    odd = form(LOAD, dict(type='MyNormalizer'))
    plain = form(LOAD, **IN_PREPROCESSOR)
    for pair, role in (((odd, plain), 'child'), ((plain, odd), 'parent')):
        with pytest.raises(ValueError, match=f'{role} normalises by MyNorm'):
            Renormalise.between(*pair)
    assert Renormalise.between(odd, odd).same


def test_grey_is_repeated_for_three_channels():
    grey = form(LOAD, channels=1, mean=[70.], std=[30.])
    colour = form(LOAD, **IN_PREPROCESSOR)
    found = Renormalise.between(grey, colour)(torch.ones(1, 1, 2, 2))
    # A grey value of 100, as each of the three.
    expected = torch.tensor([(100 - m) / s for m, s in zip(MEAN, STD)])
    torch.testing.assert_close(found[0, :, 1, 1], expected)


def test_without_filters_the_image_itself_tells_its_channels():
    """An MLP takes grey images as it takes colour."""
    mlp = Network(**IN_PREPROCESSOR)
    mlp.conv = nn.Linear(4, 2)
    unknown = ImageFormat.of(mlp, config(LOAD, **IN_PREPROCESSOR))
    assert unknown.channels is None
    assert Renormalise.between(unknown, unknown).same
    found = Renormalise.between(unknown, form(LOAD))
    colour = torch.rand(1, 3, 2, 2)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (MEAN, STD))
    torch.testing.assert_close(
        found(colour),
        colour.flip(1) * std.flip(0) + mean.flip(0))
    grey = colour[:, :1]
    torch.testing.assert_close(found(grey), found(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize('child, parent', [(3, 1), (4, 3), (3, 4), (1, 4)])
def test_other_channels_are_refused(child, parent):
    with pytest.raises(
            ValueError,
            match=rf'child takes images of {child} .* parent of {parent}'):
        Renormalise.between(form(channels=child), form(channels=parent))


@pytest.mark.parametrize('steps, order', [
    ([], 'rgb'),
    ([LOAD], 'bgr'),
    (TENSOR[:2], 'rgb'),
    ([*TENSOR[:2], dict(type='PILToNumpy', to_bgr=True)], 'bgr'),
])
def test_order_through_the_pipeline(steps, order):
    assert channel_order_of(config(*steps)) == order
