auto_scale_lr = dict(base_batch_size=64)
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
        interval=8, max_keep_ckpts=2, save_best='auto', type='CheckpointHook'),
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
method = dict(type='mmhkt.KD')
model = dict(
    backbone=dict(
        depth=20,
        shortcut='A',
        type='mmhkt.CIFARResNet',
        widths=(
            16,
            16,
            32,
            64,
        )),
    head=dict(
        in_channels=64,
        loss=dict(loss_weight=1.0, type='CrossEntropyLoss'),
        num_classes=10,
        topk=(1, ),
        type='LinearClsHead'),
    neck=dict(type='GlobalAveragePooling'),
    type='ImageClassifier')
optim_wrapper = dict(
    optimizer=dict(
        lr=0.1, momentum=0.9, nesterov=True, type='SGD', weight_decay=0.0005),
    type='mmhkt.AutocastOptimWrapper')
param_scheduler = dict(
    by_epoch=False, eta_max=0.1, total_steps=7900, type='OneCycleLR')
parent = dict(
    cache='work_dirs/features_few100',
    checkpoint='work_dirs/resnet56_few-100e_cifar10/child.pth',
    config='mmhkt::alone/resnet56_few-100e_cifar10.py',
    memory_format='channels_last')
randomness = dict(deterministic=False, seed=2000)
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
    persistent_workers=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(topk=(1, ), type='Accuracy')
test_pipeline = [
    dict(type='PackInputs'),
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=50)
train_dataloader = dict(
    batch_size=64,
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
        indices=5000,
        pipeline=[
            dict(crop_size=32, padding=4, type='RandomCrop'),
            dict(direction='horizontal', prob=0.5, type='RandomFlip'),
            dict(type='PackInputs'),
        ],
        split='train',
        type='mmhkt.ArrayDataset'),
    num_workers=2,
    persistent_workers=True,
    sampler=dict(shuffle=True, type='DefaultSampler'))
train_pipeline = [
    dict(crop_size=32, padding=4, type='RandomCrop'),
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
work_dir = 'work_dirs/inheritance_resnet56-few_resnet20_few-100e_cifar10/100_epochs/kd/seed_2000'
