# dataset settings
# FlyingThings3D, both passes, in data/FlyingThings3D; for validation Sintel's
# training pairs, clean and final, in data/Sintel
dataset_type = 'mmhkt.TorchvisionFlow'
data_preprocessor = dict(type='mmhkt.FlowDataPreprocessor', pad='sintel')

train_pipeline = [
    dict(type='mmhkt.FlowColorJitter'),
    dict(type='mmhkt.RandomFlowErase'),
    dict(
        type='mmhkt.RandomFlowCrop',
        crop_size=(400, 720),
        min_scale=-0.4,
        max_scale=0.8),
    dict(type='mmhkt.RandomFlowFlip'),
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
        name='FlyingThings3D',
        split='train',
        pass_name='both',
        pipeline=train_pipeline),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='pseudo_collate'),
)

val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type=dataset_type,
                name='Sintel',
                pass_name='clean',
                pipeline=test_pipeline),
            dict(
                type=dataset_type,
                name='Sintel',
                pass_name='final',
                pipeline=test_pipeline),
        ]),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
)
val_evaluator = dict(type='mmhkt.EndPointError', by='subset')

test_dataloader = val_dataloader
test_evaluator = val_evaluator
