# Copyright (c) mmhkt authors. All rights reserved.
"""Small real segmentation runs for the tests."""
import uuid

import cv2
import numpy as np
from mmengine.config import Config

from mmhkt.utils.config import load_config, set_dataloader_defaults

FIVE_LINES = """_base_ = 'mmseg::{child}.py'
runner_type = 'mmhkt.InheritanceRunner'
parent = dict(config='mmseg::{parent}.py', random_weights=True)
method = dict(type='mmhkt.HKT')
"""


def images(folder, count=4, size=(64, 64), classes=4):
    """Write images of noise and masks of noise, with an ignored corner."""
    rng = np.random.default_rng(0)
    for name in ('img', 'ann'):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        mask = rng.integers(0, classes, size, dtype=np.uint8)
        mask[:8, :8] = 255
        cv2.imwrite(str(folder / 'img' / f'{i}.png'), image)
        cv2.imwrite(str(folder / 'ann' / f'{i}.png'), mask)
    return folder


def on_noise(cfg, folder, classes=4, size=(64, 64), **options):
    """Make a config one of two iterations on images of noise."""
    data = folder / 'data'
    if not data.exists():
        images(data, size=size, classes=classes)
    for name in ('train', 'val', 'test'):
        train = name == 'train'
        flip = [dict(type='RandomFlip', prob=0.5)] if train else []
        cfg[f'{name}_dataloader'] = dict(
            batch_size=2 if train else 1,
            num_workers=0,
            sampler=dict(
                type='InfiniteSampler' if train else 'DefaultSampler',
                shuffle=train),
            dataset=dict(
                type='BaseSegDataset',
                data_root=str(data),
                data_prefix=dict(img_path='img', seg_map_path='ann'),
                img_suffix='.png',
                metainfo=dict(classes=[str(i) for i in range(classes)]),
                serialize_data=False,
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='LoadAnnotations'), *flip,
                    dict(type='PackSegInputs')
                ]))
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=2, val_interval=2)
    cfg.merge_from_dict({
        'model.data_preprocessor.size':
        size,
        'default_hooks.logger':
        dict(type='LoggerHook', interval=1),
        'default_hooks.checkpoint':
        dict(type='CheckpointHook', by_epoch=False, interval=2),
        'log_level':
        'WARNING',
        'work_dir':
        str(folder / 'run'),
        **options
    })
    set_dataloader_defaults(
        cfg, ('train_dataloader', 'val_dataloader', 'test_dataloader'))
    # mmengine's managers keep one state a name, also between runs.
    cfg.experiment_name = uuid.uuid4().hex
    return cfg


def zoo_config(folder, child, parent, classes, **options):
    """A pair of the zoo from five lines, without its pretrained backbone."""
    path = folder / 'pair.py'
    path.write_text(FIVE_LINES.format(child=child, parent=parent))
    cfg = load_config(path)
    cfg.model.pretrained = cfg.model.backbone.init_cfg = None
    return on_noise(cfg, folder, classes, **options)


def tiny_model(stride=8, width=4, classes=4, **options):
    """A small FCN of ResNet-18, of output stride 8, 16 or 32."""
    deep = dict(
        zip(
            ('strides', 'dilations'), {
                8: ((1, 2, 1, 1), (1, 1, 2, 4)),
                16: ((1, 2, 2, 1), (1, 1, 1, 2)),
                32: ((1, 2, 2, 2), (1, 1, 1, 1))
            }[stride]))
    head = dict(
        type='FCNHead',
        channels=2 * width,
        num_convs=1,
        concat_input=False,
        num_classes=classes,
        dropout_ratio=0.1)
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            size=(64, 64)),
        backbone=dict(
            type='ResNet',
            depth=18,
            stem_channels=width,
            base_channels=width,
            **deep),
        decode_head=dict(in_channels=8 * width, in_index=3, **head),
        auxiliary_head=dict(in_channels=4 * width, in_index=2, **head),
        test_cfg=dict(mode='whole'))
    cfg = Config(dict(model=model))
    cfg.merge_from_dict({f'model.{k}': v for k, v in options.items()})
    return cfg.model


def tiny_config(folder,
                method='mmhkt.GatedHKT',
                child=None,
                parent=None,
                **options):
    """A small pair of output stride 16 and 8."""
    parent = dict(
        default_scope='mmseg', model=parent or tiny_model(stride=8, width=8))
    cfg = Config(
        dict(
            default_scope='mmseg',
            runner_type='mmhkt.InheritanceRunner',
            model=child or tiny_model(stride=16),
            parent=dict(config=parent, random_weights=True),
            method=dict(type=method) if isinstance(method, str) else method,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            val_cfg=dict(type='ValLoop'),
            val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            default_hooks=dict(sampler_seed=dict(type='DistSamplerSeedHook')),
            visualizer=dict(type='SegLocalVisualizer'),
            randomness=dict(seed=0)))
    return on_noise(cfg, folder, **options)
