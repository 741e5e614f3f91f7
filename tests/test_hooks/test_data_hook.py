# Copyright (c) mmhkt authors. All rights reserved.
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import nn

from mmhkt.hooks import DataHook
from mmhkt.models.tasks import Classification, OpticalFlow, Segmentation


class Labels(list):
    """A data set of images and labels."""
    metainfo = dict(classes=('cat', 'dog', 'owl'))

    def get_gt_labels(self):
        return np.array(self)

    def get_data_info(self, i):
        return dict(img_path=f'{i}.png')


def runner(task, dataset):
    said = []
    return SimpleNamespace(
        inheritance=SimpleNamespace(task=task),
        iter=0,
        val_loop=None,
        train_dataloader=SimpleNamespace(dataset=dataset),
        said=said,
        logger=SimpleNamespace(warning=said.append))


def classifier(classes=3, head='Head'):
    network = nn.Module()
    network.backbone = nn.Identity()
    network.head = type(head, (nn.Identity, ), {})()
    network.head.num_classes = classes
    return Classification(network)


def segmentor(classes=3, ignore=255):
    head = SimpleNamespace(
        num_classes=classes, ignore_index=ignore, out_channels=classes)
    return Segmentation(SimpleNamespace(decode_head=head))


def labelled(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


def masks(*of):
    return [
        SegDataSample(gt_sem_seg=PixelData(data=torch.full((1, 4, 4), value)))
        for value in of
    ]


def words(task, samples, images=None, dataset=None, **settings):
    """What is said of a batch of samples."""
    if images is None:
        images = torch.arange(48.).view(1, 3, 4,
                                        4).repeat(len(samples), 1, 1, 1)
    run = runner(task, dataset or [None] * len(samples))
    hook = DataHook(**settings)
    hook.before_train(run)
    hook.before_train_iter(run, 0, dict(inputs=images, data_samples=samples))
    return run.said


# ----------------------------------------------------------- before training


def test_a_label_without_a_class_is_found_before_training():
    with pytest.raises(
            ValueError,
            match=r'label of 2.png is 3, as are 1 more '
            'outside, but the network has 3 classes'):
        words(classifier(), [], dataset=Labels([0, 1, 3, 4]))


def test_images_of_several_labels_each():
    assert words(classifier(), [], dataset=Labels([[0, 1], [1, 2]])) == []
    said, = words(classifier(), [], dataset=Labels([[0, 1], [1, 0]]))
    assert said.endswith('2 (owl).')
    with pytest.raises(ValueError, match=r'of 1.png is \[0 3\], as are 0'):
        words(classifier(), [], dataset=Labels([[0, 1], [0, 3]]))


def test_a_class_without_an_image():
    said, = words(classifier(), [], dataset=Labels([0, 0, 2]))
    assert said == ('NO TRAINING IMAGE OF 1 OF THE 3 CLASSES: 1 (dog).')
    assert words(classifier(), [], dataset=Labels([0, 1, 2])) == []
    # A head that does not say how many.
    assert words(classifier(None), [], dataset=Labels([0, 7])) == []


# --------------------------------------------------- the first hundred samples


def test_one_class_only():
    said, = words(classifier(), labelled(1, 1), dataset=None)
    assert said.startswith('ONLY ONE OF THE 3 CLASSES OCCURS in the first 2')
    assert words(classifier(), labelled(0, 1, 2)) == []
    said, = words(classifier(), labelled(0, 1, 1))
    assert said.startswith('1 OF THE 3 CLASSES DO NOT OCCUR')


def test_masks_of_0_and_255():
    said, = words(segmentor(2), masks(0, 0, 0, 255))
    assert 'ONLY ONE OF THE 2 CLASSES' in said and '25% is ignored' in said


def test_nothing_known():
    with pytest.raises(ValueError, match='Nothing can be learned.*first 3'):
        words(segmentor(), masks(255, 255, 255))
    flow = torch.full((1, 2, 4, 4), float('nan'))
    with pytest.raises(ValueError, match='Nothing can be learned'):
        words(
            OpticalFlow(nn.Identity()),
            OpticalFlow(nn.Identity()).samples(flow))


@pytest.mark.parametrize('image, said', [
    (torch.zeros(1, 3, 4, 4), 'OF ONE VALUE'),
    ((torch.rand(1, 3, 20, 20) > 0.5).float(), 'SATURATED'),
])
def test_images_without_contrast(image, said):
    text, = words(classifier(), labelled(0, 1, 2), image.repeat(3, 1, 1, 1))
    assert said in text and text.startswith('3 OF THE FIRST 3')


def test_it_waits_for_enough_samples():
    run = runner(classifier(), [None] * 500)
    hook = DataHook(samples=4)
    hook.before_train(run)
    batch = dict(inputs=torch.rand(3, 3, 4, 4), data_samples=labelled(1, 1, 1))
    hook.before_train_iter(run, 0, batch)
    assert run.said == []
    hook.before_train_iter(run, 1, batch)
    assert len(run.said) == 1
    hook.before_train_iter(run, 2, batch)
    assert len(run.said) == 1


def test_a_resumed_run_is_not_told_again():
    run = runner(classifier(), Labels([0, 9]))
    run.iter = 5
    hook = DataHook()
    hook.before_train(run)
    hook.before_train_iter(run, 0, dict(inputs=[], data_samples=[]))
    assert run.said == []
