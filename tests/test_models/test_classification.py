# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from helpers import CONFIGS, digits_config
from mmpretrain.structures import DataSample

from mmhkt.models import build_network, task_of
from mmhkt.models.tasks.classification import check_sample
from mmhkt.registry import RUNNERS
from mmhkt.utils.config import load_config


def sample(label, kind=torch.int64, **fields):
    sample = DataSample(metainfo=dict(img_path='images/7.png'))
    if label is not None:
        sample.set_field(torch.tensor(label, dtype=kind), 'gt_label')
    return dict(inputs=None, data_samples=sample)


@pytest.mark.parametrize('label, kind, text', [
    ([255], torch.int64, 'images/7.png is 255, but the network has 10 class'),
    ([-1], torch.int64, 'images/7.png is -1, but'),
    ([10], torch.uint8, 'is 10, but'),
    ([1.5], torch.float32, r'is \[1.5\], no whole number'),
    ([], torch.int64, 'images/7.png has no label'),
    (None, None, 'images/7.png has no label'),
])
def test_labels_that_cannot_be(label, kind, text):
    with pytest.raises(ValueError, match=text):
        check_sample(sample(label, kind), 10)


@pytest.mark.parametrize('label, options', [
    ([0], {}),
    ([9], {}),
    ([True], {}),
    ([], dict(several=True)),
    ([3, 5], dict(several=True)),
    (None, dict(training=False)),
])
def test_labels_that_can(label, options):
    check_sample(sample(label), 10, **options)


def test_training_says_which_image_has_it(tmp_path):
    cfg = digits_config(tmp_path, 'mmhkt.Alone')
    cfg.model.head.num_classes = 7
    with pytest.raises(
            ValueError,
            match=r'of image \d+ is [789], .*but the net'
            'work has 7 classes'):
        RUNNERS.build(cfg).train()


def test_labels_stay_on_their_device():
    """mmpretrain makes CPU tensors of labels without a dimension."""
    task = task_of(
        build_network(load_config(CONFIGS / 'alone/resnet20_digits.py')))
    for labels in (torch.tensor([3, 1]), torch.tensor([3, 1]).to('meta'),
                   torch.tensor([3, 1], dtype=torch.int32)):
        samples = task.samples(labels)
        assert all(s.gt_label.device == labels.device for s in samples)
        assert all(s.gt_label.dtype == torch.int64 for s in samples)
        assert all(s.gt_label.shape == (1, ) for s in samples)
