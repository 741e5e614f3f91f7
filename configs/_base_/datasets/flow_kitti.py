# dataset settings
# KITTI-2015 flow, in data/KittiFlow. Every fifth of the 200 pairs is held out
# for validation. To train on all, as for the benchmark's server, set `only`
# of the training pairs to None.
dataset_type = 'mmhkt.TorchvisionFlow'
data_preprocessor = dict(type='mmhkt.FlowDataPreprocessor', pad='kitti')

train_pipeline = [
    dict(
        type='mmhkt.FlowColorJitter',
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.1,
        asymmetric_prob=0.0),
    dict(type='mmhkt.RandomFlowErase'),
    dict(
        type='mmhkt.RandomFlowCrop',
        crop_size=(288, 960),
        min_scale=-0.2,
        max_scale=0.4,
        stretch_prob=0.0),
    dict(type='mmhkt.PackFlowInputs'),
]

test_pipeline = [
    dict(type='mmhkt.PackFlowInputs'),
]

train_dataloader = dict(
    batch_size=6,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        type=dataset_type,
        name='KittiFlow',
        only=r'[^05]_10\.png$',
        pipeline=train_pipeline),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='pseudo_collate'),
)

val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        type=dataset_type,
        name='KittiFlow',
        only=r'[05]_10\.png$',
        pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
)
val_evaluator = dict(type='mmhkt.EndPointError')

test_dataloader = val_dataloader
test_evaluator = val_evaluator
