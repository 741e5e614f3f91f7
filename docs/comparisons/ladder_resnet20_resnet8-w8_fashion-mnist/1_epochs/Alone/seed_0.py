auto_scale_lr = dict(base_batch_size=128)
classes = (
    'T-shirt/top',
    'Trouser',
    'Pullover',
    'Dress',
    'Coat',
    'Sandal',
    'Shirt',
    'Sneaker',
    'Bag',
    'Ankle boot',
)
custom_hooks = [
    dict(type='mmhkt.RecordHook'),
    dict(number=4, type='mmhkt.ExamplesHook'),
]
data_preprocessor = dict(
    mean=[
        72.94,
        72.94,
        72.94,
    ],
    num_classes=10,
    std=[
        90.02,
        90.02,
        90.02,
    ],
    to_rgb=False)
dataset_type = 'mmhkt.ArrayDataset'
default_hooks = dict(
    checkpoint=dict(
        interval=1, max_keep_ckpts=2, save_best='auto', type='CheckpointHook'),
    extraction=dict(score_parent=False, type='mmhkt.ExtractionHook'),
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
method = dict(type='mmhkt.Alone')
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
        lr=0.4, momentum=0.9, nesterov=True, type='SGD', weight_decay=0.0005))
param_scheduler = dict(
    by_epoch=False, eta_max=0.4, total_steps=469, type='OneCycleLR')
parent = dict(
    checkpoint=
    'work_dirs/ladder_resnet20_resnet8-w8_fashion-mnist/parent/child.pth',
    config='mmhkt::alone/resnet20_10e_fashion-mnist.py',
    memory_format='channels_last')
randomness = dict(deterministic=False, seed=0)
resume = False
runner_type = 'mmhkt.InheritanceRunner'
test_cfg = dict()
test_dataloader = dict(
    batch_size=128,
    dataset=dict(
        classes=(
            'T-shirt/top',
            'Trouser',
            'Pullover',
            'Dress',
            'Coat',
            'Sandal',
            'Shirt',
            'Sneaker',
            'Bag',
            'Ankle boot',
        ),
        data_file='fashion_mnist.npz',
        data_root='data',
        pipeline=[
            dict(type='PackInputs'),
        ],
        split='test',
        type='mmhkt.ArrayDataset'),
    on_device=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(topk=(1, ), type='Accuracy')
test_pipeline = [
    dict(type='PackInputs'),
]
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        classes=(
            'T-shirt/top',
            'Trouser',
            'Pullover',
            'Dress',
            'Coat',
            'Sandal',
            'Shirt',
            'Sneaker',
            'Bag',
            'Ankle boot',
        ),
        data_file='fashion_mnist.npz',
        data_root='data',
        pipeline=[
            dict(direction='horizontal', prob=0.5, type='RandomFlip'),
            dict(type='PackInputs'),
        ],
        split='train',
        type='mmhkt.ArrayDataset'),
    on_device=True,
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
            'T-shirt/top',
            'Trouser',
            'Pullover',
            'Dress',
            'Coat',
            'Sandal',
            'Shirt',
            'Sneaker',
            'Bag',
            'Ankle boot',
        ),
        data_file='fashion_mnist.npz',
        data_root='data',
        pipeline=[
            dict(type='PackInputs'),
        ],
        split='test',
        type='mmhkt.ArrayDataset'),
    on_device=True,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(topk=(1, ), type='Accuracy')
vis_backends = [
    dict(type='LocalVisBackend'),
]
visualizer = dict(
    type='UniversalVisualizer', vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = 'work_dirs/ladder_resnet20_resnet8-w8_fashion-mnist/1_epochs/Alone/seed_0'
