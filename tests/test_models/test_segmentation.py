# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample
from seg_helpers import tiny_model

from mmhkt.inheritance import Dissection, Trunk
from mmhkt.models import (FeatureNetwork, Parent, Renormalise, build_network,
                          channel_order_of, task_of)
from mmhkt.models.image_format import normalisation_of
from mmhkt.models.tasks.segmentation import check_sample
from mmhkt.utils.config import load_config

HEAD = dict(_delete_=True, in_channels=32, in_index=3, num_classes=4)


def network(**options):
    model = tiny_model(**options)
    return build_network(Config(dict(default_scope='mmseg', model=model)))


def dissected(net):
    return Dissection(net, torch.rand(1, 3, 64, 64), 'child')


@pytest.mark.parametrize(
    'options, head',
    [
        ({}, 'decode_head.convs'),
        ({
            'decode_head.dropout_ratio': 0
        }, 'decode_head.convs'),
        ({
            'decode_head.concat_input': True
        }, 'decode_head.conv_cat'),
        ({
            'decode_head.num_convs': 0,
            'decode_head.channels': 32
        }, 'decode_head.convs'),
        ({
            'decode_head': dict(type='PSPHead', channels=8, **HEAD)
        }, 'decode_head.bottleneck'),
        # The sum of two features comes from no module, but from dropout.
        ({
            'decode_head':
            dict(
                type='FPNHead',
                _delete_=True,
                in_channels=[4, 32],
                in_index=[0, 3],
                feature_strides=[4, 8],
                channels=8,
                num_classes=4)
        }, 'decode_head.dropout'),
        # Dropout runs three times here.
        ({
            'decode_head': dict(
                type='DAHead', channels=8, pam_channels=4, **HEAD)
        }, None),
    ])
def test_sites(options, head):
    net = network(**options)
    task, dissection = task_of(net), dissected(net)
    assert task.logits_site(dissection) == 'decode_head.conv_seg'
    assert task.head_site(dissection) == head


def test_sites_of_a_cascade():
    net = network(
        **{
            'type':
            'CascadeEncoderDecoder',
            'num_stages':
            2,
            'decode_head': [
                dict(
                    type='FCNHead',
                    in_channels=32,
                    channels=8,
                    in_index=3,
                    num_classes=4),
                dict(
                    type='OCRHead',
                    in_channels=32,
                    in_index=3,
                    channels=8,
                    ocr_channels=4,
                    num_classes=4,
                    ignore_index=0)
            ]
        })
    task, dissection = task_of(net), dissected(net)
    assert task.logits_site(dissection) == 'decode_head.1.conv_seg'
    assert task.head_site(dissection) == 'decode_head.1.object_context_block'
    assert task.head.ignore_index == 0


def test_stages_of_a_network_with_skips_are_the_encoders():
    net = network(
        **{
            'backbone':
            dict(
                _delete_=True,
                type='UNet',
                base_channels=4,
                num_stages=3,
                strides=(1, 1, 1),
                enc_num_convs=(1, 1, 1),
                dec_num_convs=(1, 1),
                downsamples=(True, True),
                enc_dilations=(1, 1, 1),
                dec_dilations=(1, 1)),
            'decode_head.in_channels':
            4,
            'decode_head.in_index':
            2,
            'auxiliary_head':
            None
        })
    assert [s.site for s in Trunk(dissected(net)).stages
            ] == [f'backbone.encoder.{i}' for i in range(3)]
    assert task_of(net).once() == ()


def sample(mask, image=None):
    data_sample = SegDataSample(
        metainfo=dict(seg_map_path='masks/7.png'),
        gt_sem_seg=PixelData(data=mask[None]))
    return dict(
        inputs=torch.zeros(3, *mask.shape) if image is None else image,
        data_samples=data_sample)


def test_score_is_the_accuracy_of_what_is_not_ignored():
    task = task_of(network())
    mask = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 255, 255],
                         [2, 2, 255, 255]])
    logits = torch.zeros(1, 4, 2, 2)
    logits[0, [0, 2, 2, 3], [0, 0, 1, 1], [0, 1, 0, 1]] = 1
    score = task.score(logits, [sample(mask)['data_samples']])
    assert score == pytest.approx(100 * 2 / 3)
    ignored = sample(torch.full((4, 4), 255))['data_samples']
    assert task.score(logits, [ignored]) == 0


def test_score_of_one_logit():
    task = task_of(
        network(
            **{
                'decode_head.num_classes': 2,
                'decode_head.out_channels': 1,
                'decode_head.threshold': 0.5
            }))
    logits = torch.tensor([[[[1., -1.], [1., -1.]]]])
    mask = torch.tensor([[1, 0], [0, 255]])
    score = task.score(logits, [sample(mask)['data_samples']])
    assert score == pytest.approx(100 * 2 / 3)


def test_check_names_the_file():
    good = torch.tensor([[0, 3], [255, 1]])
    check = task_of(network()).check(training=True)
    check(sample(good))
    with pytest.raises(ValueError, match='masks/7.png has the label 4 .1 pix'):
        check(sample(torch.tensor([[0, 4], [255, 1]])))
    with pytest.raises(ValueError, match='masks/7.png is 5x6 pix.*mask 2x2'):
        check(sample(good, torch.zeros(3, 5, 6)))
    nothing = dict(
        inputs=torch.zeros(3, 2, 2),
        data_samples=SegDataSample(metainfo=dict(img_path='7.jpg')))
    with pytest.raises(ValueError, match='7.jpg has no mask'):
        check_sample(nothing, 4, 255)


def test_unknown_setting_of_the_task():
    with pytest.raises(ValueError, match='nearest: inherit_auxiliary'):
        task_of(network(), dict(inherit_auxilary=True))


@pytest.mark.parametrize('config', [
    'mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py',
    'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py',
    'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py',
])
def test_a_parent_of_queries_gives_its_features(config):
    parent = Parent(f'mmseg::{config}', random_weights=True)
    assert isinstance(parent.network, FeatureNetwork)
    assert parent.network.backbone.depth == 50


IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
HALF = dict(mean=[127.5, 120.0, 130.0], std=[127.5, 100.0, 90.0])
GREY = dict(mean=[100.], std=[50.])


@pytest.mark.parametrize('child, parent, channels', [
    (dict(IMAGENET, bgr_to_rgb=True), dict(HALF, bgr_to_rgb=True), 3),
    (dict(IMAGENET, bgr_to_rgb=True), dict(HALF), 3),
    (dict(HALF), dict(IMAGENET, bgr_to_rgb=True), 3),
    (dict(), dict(IMAGENET, bgr_to_rgb=True), 3),
    (dict(GREY), dict(HALF), 3),
    (dict(GREY), dict(mean=[90.], std=[40.]), 5),
])
def test_renormalised_as_if_the_parent_had_loaded_it(child, parent, channels):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, channels, 5, 6)).float()
    flip = child.get('bgr_to_rgb', False) != parent.get('bgr_to_rgb', False)

    def preprocessed(settings):
        preprocessor = SegDataPreProcessor(**settings)
        return preprocessor(dict(inputs=list(images)))['inputs']

    renormalise = Renormalise(
        normalisation_of(SegDataPreProcessor(**child)),
        normalisation_of(SegDataPreProcessor(**parent)), flip)
    torch.testing.assert_close(
        renormalise(preprocessed(child)),
        preprocessed(parent),
        rtol=1e-5,
        atol=1e-5)


@pytest.mark.parametrize('path', [
    'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py',
])
def test_channel_order(path):
    assert channel_order_of(load_config(f'mmseg::{path}')) == 'rgb'


def test_channel_order_of_data_sets_in_a_list():
    cfg = load_config('mmseg::unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py')
    cfg.data_preprocessor.bgr_to_rgb = False
    cfg.model.data_preprocessor.bgr_to_rgb = False
    cfg.test_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[cfg.test_dataloader.dataset])
    assert channel_order_of(cfg) == 'bgr'
