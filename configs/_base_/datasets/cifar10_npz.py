# dataset settings
# CIFAR-10 as one file of arrays, see `mmhkt.ArrayDataset` for its keys
dataset_type = 'mmhkt.ArrayDataset'
classes = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog',
           'horse', 'ship', 'truck')
data_preprocessor = dict(
    num_classes=10,
    # RGB format normalization parameters:
    # (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) times 255
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    # loaded images are already RGB format
    to_rgb=False)

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]

test_pipeline = [
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        type=dataset_type,
        data_root='data',
        data_file='cifar10.npz',
        classes=classes,
        split='train',
        pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)

val_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        type=dataset_type,
        data_root='data',
        data_file='cifar10.npz',
        classes=classes,
        split='test',
        pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1, ))

test_dataloader = val_dataloader
test_evaluator = val_evaluator
