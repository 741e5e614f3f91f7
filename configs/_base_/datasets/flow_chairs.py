# dataset settings
# FlyingChairs, https://lmb.informatik.uni-freiburg.de, in data/FlyingChairs
dataset_type = 'mmhkt.TorchvisionFlow'
data_preprocessor = dict(type='mmhkt.FlowDataPreprocessor', pad='sintel')

train_pipeline = [
    dict(type='mmhkt.FlowColorJitter'),
    dict(type='mmhkt.RandomFlowErase'),
    dict(
        type='mmhkt.RandomFlowCrop',
        crop_size=(368, 496),
        min_scale=-0.1,
        max_scale=1.0),
    dict(type='mmhkt.RandomFlowFlip'),
    dict(type='mmhkt.PackFlowInputs'),
]

test_pipeline = [
    dict(type='mmhkt.PackFlowInputs'),
]

train_dataloader = dict(
    batch_size=10,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        type=dataset_type,
        name='FlyingChairs',
        split='train',
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
        name='FlyingChairs',
        split='val',
        pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
)
val_evaluator = dict(type='mmhkt.EndPointError')

test_dataloader = val_dataloader
test_evaluator = val_evaluator
