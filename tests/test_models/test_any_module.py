# Copyright (c) mmhkt authors. All rights reserved.
"""Networks of other houses as parent and as child, of any module."""
import json

import pytest
import torch
import torchvision
from helpers import arrays, read
from mmengine.config import Config
from torch import nn

from mmhkt.models import (FeatureNetwork, ImageFormat, Inheritance, Parent,
                          PlainClassifier, build_network)
from mmhkt.models.pairing import pairing
from mmhkt.models.plain_classifier import made as make
from mmhkt.models.tasks import Task, task_of, tasks
from mmhkt.registry import TASKS
from mmhkt.runner.inheritance_runner import InheritanceRunner, build_methods
from mmhkt.utils.config import load_config
from mmhkt.utils.settings import SettingError


class Written(nn.Module):
    """By hand, with its stages one level deeper, and outputs in a dict."""

    def __init__(self, classes=4):
        super().__init__()

        def block(before, after, stride):
            return nn.Sequential(
                nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after),
                nn.ReLU())

        self.trunk = nn.Sequential(
            nn.Sequential(block(3, 8, 2), block(8, 8, 2)),
            nn.Sequential(block(8, 16, 2)), nn.Sequential(block(16, 24, 2)))
        self.last = nn.Linear(24, classes)

    def forward(self, x):
        return self.last(self.trunk(x).mean((2, 3)))


def huggingface(kind='resnet'):
    transformers = pytest.importorskip('transformers')
    if kind == 'resnet':
        config = transformers.ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            layer_type='basic',
            num_labels=4)
    else:
        config = transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=64,
            patch_size=16,
            num_labels=4)
    return transformers.AutoModelForImageClassification.from_config(config)


# As a config names them.
NETWORKS = {
    'timm ViT':
    dict(
        type='timm.models.VisionTransformer',
        img_size=64,
        patch_size=16,
        embed_dim=16,
        depth=4,
        num_heads=2,
        num_classes=4),
    'timm ConvNeXt':
    dict(
        type='timm.models.ConvNeXt',
        dims=(8, 12, 16, 24),
        depths=(1, 1, 1, 1),
        num_classes=4),
    'timm Swin':
    dict(
        type='timm.models.SwinTransformer',
        img_size=64,
        patch_size=2,
        window_size=4,
        embed_dim=8,
        depths=(1, 1, 1),
        num_heads=(1, 2, 2),
        num_classes=4),
    'HuggingFace ResNet':
    dict(type=f'{__name__}.huggingface'),
    'HuggingFace ViT':
    dict(type=f'{__name__}.huggingface', kind='vit'),
    'torchvision EfficientNet':
    dict(type='torchvision.models.efficientnet_b0', num_classes=4),
    'by hand':
    dict(type=f'{__name__}.Written'),
}
# How many stages each has beside a ResNet's four.
STAGES = {'timm Swin': 3, 'by hand': 3}

ZOO = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(
        type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(
        type='mmpretrain.LinearClsHead',
        num_classes=4,
        in_channels=64,
        loss=dict(type='mmpretrain.CrossEntropyLoss')))


def joined(child, parent, method='HKT', size=64):
    parent = Parent(parent)
    parent.connect(child, ImageFormat.of(child))
    torch.manual_seed(0)
    return Inheritance(child, parent,
                       build_methods([dict(type=f'mmhkt.{method}')]),
                       torch.rand(1, 3, size, size))


def an_epoch(folder, child, parent):
    """The runner, after an epoch of three batches of noise."""
    data = arrays(folder / 'noise.npz', images=12, size=64, classes=4)
    pipeline = [dict(type='PackInputs')]
    cfg = dict(
        model=child,
        parent=dict(parent, random_weights=True),
        method=dict(type='mmhkt.HKT'),
        data_preprocessor=dict(num_classes=4, mean=[127.5] * 3, std=[64.] * 3),
        train_dataloader=dict(
            batch_size=4,
            dataset=dict(
                type='mmhkt.ArrayDataset',
                data_file=str(data),
                pipeline=pipeline),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        default_scope='mmpretrain',
        log_level='WARNING',
        work_dir=str(folder))
    runner = InheritanceRunner.from_cfg(Config(cfg))
    runner.train()
    return runner


@pytest.mark.parametrize('role', ['parent', 'child'])
@pytest.mark.parametrize('name', NETWORKS)
def test_an_epoch_beside_a_network_of_the_zoo(tmp_path, name, role):
    """The checkpoint is the plain child's."""
    network, zoo = NETWORKS[name], dict(model=ZOO)
    if name.startswith('HuggingFace'):
        pytest.importorskip('transformers')
    torch.manual_seed(0)
    if role == 'parent':
        runner = an_epoch(tmp_path, ZOO, dict(module=network))
        plain = build_network(Config(zoo))
    else:
        child = dict(type='mmhkt.PlainClassifier', model=network)
        runner = an_epoch(tmp_path, child, dict(config=zoo))
        plain = make(network)
    method = runner.inheritance.methods[0]
    assert len(method.sites) == STAGES.get(name, 4)
    assert method.weights['logits'] > 0 and not method.left_out
    assert runner.iter == 3
    for file in ('epoch_1.pth', 'child.pth'):
        weights = read(tmp_path / file)['state_dict']
        plain.load_state_dict(weights)
        assert all(value.isfinite().all() for value in weights.values())


def test_a_folder_of_huggingface_as_in_a_config(tmp_path):
    transformers = pytest.importorskip('transformers')
    transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[3, 3],
        layer_type='basic',
        num_labels=4).save_pretrained(tmp_path)
    text = json.loads((tmp_path / 'config.json').read_text())
    text['architectures'] = ['ResNetForImageClassification']
    (tmp_path / 'config.json').write_text(json.dumps(text))
    parent = Parent(
        dict(
            model=dict(
                type='mmpretrain.HuggingFaceClassifier',
                model_name=str(tmp_path))),
        random_weights=True)
    child = PlainClassifier(Written())
    model = joined(child, parent.network)
    assert [s.parent for s in model.methods[0].sites] == [
        'model.resnet.encoder.stages.0', 'model.resnet.encoder.stages.1'
    ]
    assert 'FOR' not in model.counts and len(model.halves) == 1
    assert '2 OF THE 3 STAGES' in model.halves[0]


def test_a_parent_by_the_name_of_its_module(tmp_path):
    name = 'torchvision.models.resnet18'
    network = torchvision.models.resnet18(num_classes=4)
    torch.save(network.state_dict(), tmp_path / 'weights.pth')
    settings = dict(
        module=dict(type=name, num_classes=4),
        checkpoint=str(tmp_path / 'weights.pth'),
        data_preprocessor=dict(mean=[1., 2., 3.], std=[4., 5., 6.]))
    parent = Parent.from_cfg(settings)
    assert isinstance(parent.network, PlainClassifier)
    assert torch.equal(parent.network.model.fc.weight, network.fc.weight)
    assert parent.channel_order == 'rgb'
    parent.connect(
        PlainClassifier(Written()),
        ImageFormat.of(PlainClassifier(Written()), order='rgb'))
    torch.testing.assert_close(
        parent.images(torch.full((1, 3, 1, 1), 9.)).flatten(),
        torch.tensor([8 / 4, 7 / 5, 6 / 6]))


@pytest.mark.parametrize('settings, words', [
    (dict(module='torchvision.models.resnet18'), 'no checkpoint'),
    (dict(module='torchvision.models.resnet18', config='a.py'), 'wants one'),
    (dict(random_weights=True), 'wants one of config .* and module'),
    (dict(module='torchvision.models.resnet0',
          random_weights=True), 'no "torchvision.models.resnet0"'),
])
def test_wrong_modules(settings, words):
    with pytest.raises((SettingError, ValueError), match=words):
        Parent.from_cfg(settings)


def test_a_parent_with_queries_is_one_of_features():
    """Without mmdet, which its head needs."""
    model = dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(type='mmseg.SegDataPreProcessor'),
        backbone=dict(
            type='mmseg.ResNet', depth=18, stem_channels=8, base_channels=8),
        decode_head=dict(type='mmseg.MaskFormerHead', num_classes=4))
    parent = Parent(dict(model=model), random_weights=True)
    assert isinstance(parent.network, FeatureNetwork)
    child = build_network(Config(dict(model=ZOO)))
    parent.connect(child, ImageFormat.of(child))
    image = torch.rand(1, 3, 64, 64)
    hkt = Inheritance(child, parent, build_methods(dict(type='mmhkt.HKT')),
                      image)
    assert len(hkt.methods[0].sites) == 4
    assert 'no logits of its own' in hkt.methods[0].left_out
    with pytest.raises(ValueError, match='parent.* no logits of its own'):
        Inheritance(child, parent, build_methods(dict(type='mmhkt.KD')), image)
    whole = {'backbone.a': 1, 'decode_head.b': 2, 'neck.c': 3}
    assert parent.network.own(whole) == {'backbone.a': 1}


@pytest.mark.parametrize('method', ['AT', 'CWD'])
def test_one_position_is_nothing_to_compare(method):
    child, parent = (build_network(Config(dict(model=ZOO))) for _ in range(2))
    parent = Parent(parent)
    parent.connect(child, ImageFormat.of(child))
    with pytest.raises(ValueError, match=r'"backbone.layer4" .*one position'):
        Inheritance(child, parent, build_methods(dict(type=f'mmhkt.{method}')),
                    torch.rand(1, 3, 32, 32))


def test_a_task_of_ones_own():
    """One class, registered; it comes before ours."""

    class Boxes(nn.Module):
        pass

    class Detection(Task):
        name, networks = 'detection', 'Boxes'

        @staticmethod
        def owns(network):
            return isinstance(network, Boxes)

        logits_site = head_site = score = samples = None

    TASKS.register_module(module=Detection)
    try:
        assert tasks()[0] is Detection
        assert isinstance(task_of(Boxes()), Detection)
    finally:
        TASKS.module_dict.pop('Detection')
    with pytest.raises(TypeError, match='no supported task'):
        task_of(Boxes())


def test_logits_are_read_in_the_order_of_the_childs_classes():
    torch.manual_seed(0)
    parent = Parent(Written(), classes=['b', 'a', 'd', 'c'])
    child = PlainClassifier(Written())
    parent.connect(child, ImageFormat.of(child))
    images = torch.rand(2, 3, 32, 32)
    model = Inheritance(
        child,
        parent,
        build_methods(dict(type='mmhkt.KD')),
        images[:1],
        classes=['a', 'b', 'c', 'd'])
    assert 'in the order of the child' in pairing(model).caption
    with model.tapped(), parent.extraction.record():
        logits = parent.network(images)
    read = parent.extraction.feature(parent.extraction.logits_site)
    assert torch.equal(read, logits[:, [1, 0, 3, 2]])


def test_classes_of_other_names_are_left_out_or_refused():
    parent = Parent(Written(), classes=['b', 'a', 'd', 'x'])
    child = PlainClassifier(Written())
    parent.connect(child, ImageFormat.of(child))
    settings = dict(image=torch.rand(1, 3, 32, 32), classes=list('abcd'))
    hkt = Inheritance(child, parent, build_methods(dict(type='mmhkt.HKT')),
                      **settings)
    assert '"c" is none of these' in hkt.methods[0].left_out
    with pytest.raises(ValueError, match='"c" is none of these'):
        Inheritance(child, parent, build_methods(dict(type='mmhkt.KD')),
                    **settings)


@pytest.mark.parametrize('loss', [
    nn.BCEWithLogitsLoss(),
    dict(type='CrossEntropyLoss', use_sigmoid=True),
])
def test_classes_that_do_not_exclude_each_other(loss):
    """Of a network of one's own, as its loss says."""
    network = PlainClassifier(Written(), loss=loss)
    task = task_of(network)
    assert not task.exclusive and task_of(PlainClassifier(Written())).exclusive
    with torch.no_grad():
        logits = network(torch.rand(2, 3, 32, 32))
        found = network(torch.rand(2, 3, 32, 32), mode='predict')
    torch.testing.assert_close(found[0].pred_score.shape, logits[0].shape)
    assert found[0].pred_label.tolist() == [
        i for i, score in enumerate(found[0].pred_score) if score >= 0.5
    ]
    labels = torch.tensor([[1., 0., 1., 0.], [0., 0., 0., 0.]])
    model = joined(network, PlainClassifier(Written(), loss=loss), 'KD')
    with model.tapped():
        losses = model.loss(torch.rand(2, 3, 64, 64), task.samples(labels))
    assert losses['kd.distillation.loss'] > 0
    with pytest.raises(ValueError, match='do not exclude each other'):
        joined(network, Written(), 'KD')


def test_without_a_head_there_is_nothing_to_train_but_features():
    headless = dict(ZOO, neck=None, head=None)
    parent = build_network(Config(dict(model=headless)))
    child = build_network(Config(dict(model=ZOO)))
    hkt = joined(child, parent).methods[0]
    assert len(hkt.sites) == 4
    assert 'no logits of its own' in hkt.left_out
    with pytest.raises(ValueError, match='child .ImageClassifier. has no h'):
        joined(parent, child)


@pytest.mark.parametrize('config', [
    'levit/levit-128s_8xb256_in1k.py',
    'efficientformer/efficientformer-l1_8xb128_in1k.py'
])
def test_a_second_classifier_that_mmpretrain_does_not_train(config):
    cfg = load_config(f'mmpretrain::{config}')
    parent = build_network(Config(dict(model=ZOO)))
    with pytest.raises(
            ValueError, match=r'set model=dict\(head=dict\(distillation=Fal'):
        joined(build_network(cfg), parent, size=224)
    cfg.model.head.distillation = False
    assert joined(build_network(cfg), parent, size=224).methods[0].sites


def test_a_network_made_of_weights_that_are_not_there():
    """LoRA of a transformer."""
    vit = dict(
        type='mmpretrain.VisionTransformer',
        arch='deit-tiny',
        img_size=32,
        init_cfg=dict(type='Pretrained', checkpoint='', prefix='backbone'))
    lora = dict(
        type='mmpretrain.LoRAModel',
        module=vit,
        rank=2,
        targets=[dict(type='qkv')])
    model = dict(ZOO, backbone=lora, neck=None)
    with pytest.raises(
            FileNotFoundError,
            match='model.backbone.module.init_cfg.checkpoint is ""'):
        build_network(Config(dict(model=model)))


def test_heads_of_queries_as_child_name_their_package():
    head = dict(type='mmseg.MaskFormerHead', in_channels=[8], feat_channels=8)
    model = dict(
        type='mmseg.EncoderDecoder',
        backbone=dict(type='mmseg.ResNet', depth=18),
        decode_head=head)
    pytest.importorskip('mmseg')
    with pytest.raises(ImportError, match='mmdetection'):
        build_network(Config(dict(model=model)))
