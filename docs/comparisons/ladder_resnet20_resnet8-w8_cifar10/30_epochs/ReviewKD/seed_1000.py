auto_scale_lr = dict(base_batch_size=128)
classes = (
    'airplane',
    'automobile',
    'bird',
    'cat',
    'deer',
    'dog',
    'frog',
    'horse',
    'ship',
    'truck',
)
custom_hooks = [
    dict(type='mmhkt.RecordHook'),
    dict(number=4, type='mmhkt.ExamplesHook'),
]
data_preprocessor = dict(
    mean=[
        123.675,
        116.28,
        103.53,
    ],
    num_classes=10,
    std=[
        58.395,
        57.12,
        57.375,
    ],
    to_rgb=False)
dataset_type = 'mmhkt.ArrayDataset'
default_hooks = dict(
    checkpoint=dict(
        interval=1, max_keep_ckpts=2, save_best='auto', type='CheckpointHook'),
    extraction=dict(score_parent=True, type='mmhkt.ExtractionHook'),
    logger=dict(interval=100, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    timer=dict(type='IterTimerHook'),
    visualization=dict(enable=False, type='VisualizationHook'))
default_scope = 'mmpretrain'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
load_from = None
log_level = 'INFO'
memory_format = 'channels_last'
method = dict(type='mmhkt.ReviewKD', weights=dict(distillation=0.6))
model = dict(
    backbone=dict(
        depth=8,
        shortcut='A',
        type='mmhkt.CIFARResNet',
        widths=(
            8,
            8,
            16,
            32,
        )),
    head=dict(
        in_channels=32,
        loss=dict(loss_weight=1.0, type='CrossEntropyLoss'),
        num_classes=10,
        topk=(1, ),
        type='LinearClsHead'),
    neck=dict(type='GlobalAveragePooling'),
    type='ImageClassifier')
optim_wrapper = dict(
    optimizer=dict(
        lr=0.8, momentum=0.9, nesterov=True, type='SGD', weight_decay=0.0005))
param_scheduler = dict(
    by_epoch=False, eta_max=0.8, total_steps=11730, type='OneCycleLR')
parent = dict(
    cache='work_dirs/features_cifar',
    cache_dtype='bfloat16',
    checkpoint='data/checkpoints/resnet20-12fca82f.th',
    config='mmhkt::alone/resnet20_200e_cifar10.py',
    memory_format='channels_last',
    revise_keys=[
        (
            '^module\\.linear',
            'head.fc',
        ),
        (
            '^module\\.',
            'backbone.',
        ),
    ])
randomness = dict(deterministic=False, seed=1000)
resume = False
runner_type = 'mmhkt.InheritanceRunner'
test_cfg = dict()
test_dataloader = dict(
    batch_size=128,
    dataset=dict(
        classes=(
            'airplane',
            'automobile',
            'bird',
            'cat',
            'deer',
            'dog',
            'frog',
            'horse',
            'ship',
            'truck',
        ),
        data_file='cifar10.npz',
        data_root='data',
        pipeline=[
            dict(type='PackInputs'),
        ],
        split='test',
        type='mmhkt.ArrayDataset'),
    num_workers=2,
    on_device=True,
    persistent_workers=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(topk=(1, ), type='Accuracy')
test_pipeline = [
    dict(type='PackInputs'),
]
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=10)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        classes=(
            'airplane',
            'automobile',
            'bird',
            'cat',
            'deer',
            'dog',
            'frog',
            'horse',
            'ship',
            'truck',
        ),
        data_file='cifar10.npz',
        data_root='data',
        pipeline=[
            dict(direction='horizontal', prob=0.5, type='RandomFlip'),
            dict(type='PackInputs'),
        ],
        split='train',
        type='mmhkt.ArrayDataset'),
    num_workers=2,
    on_device=True,
    persistent_workers=True,
    sampler=dict(shuffle=True, type='DefaultSampler'))
train_pipeline = [
    dict(direction='horizontal', prob=0.5, type='RandomFlip'),
    dict(type='PackInputs'),
]
val_cfg = dict()
val_dataloader = dict(
    batch_size=128,
    dataset=dict(
        classes=(
            'airplane',
            'automobile',
            'bird',
            'cat',
            'deer',
            'dog',
            'frog',
            'horse',
            'ship',
            'truck',
        ),
        data_file='cifar10.npz',
        data_root='data',
        pipeline=[
            dict(type='PackInputs'),
        ],
        split='test',
        type='mmhkt.ArrayDataset'),
    num_workers=2,
    on_device=True,
    persistent_workers=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(topk=(1, ), type='Accuracy')
vis_backends = [
    dict(type='LocalVisBackend'),
]
visualizer = dict(
    type='UniversalVisualizer', vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = 'work_dirs/ladder_resnet20_resnet8-w8_cifar10/30_epochs/ReviewKD/seed_1000'
