# dataset settings
# rendered pairs: no download
dataset_type = 'mmhkt.SyntheticFlow'
# Trained on 96x96 pixels, where the border is in sight everywhere, a network
# finds less than nothing inside larger images.
size = (160, 192)
data_preprocessor = dict(type='mmhkt.FlowDataPreprocessor')

train_pipeline = [
    dict(type='mmhkt.RandomFlowFlip', horizontal=0.5, vertical=0.5),
    dict(type='mmhkt.PackFlowInputs'),
]

test_pipeline = [
    dict(type='mmhkt.PackFlowInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(
        type=dataset_type,
        length=2000,
        size=size,
        seed=0,
        pipeline=train_pipeline),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='pseudo_collate'),
)

val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    # another seed: none of these pairs is trained on
    dataset=dict(
        type=dataset_type,
        length=100,
        size=size,
        seed=1,
        pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
)
val_evaluator = dict(type='mmhkt.EndPointError')

test_dataloader = val_dataloader
test_evaluator = val_evaluator
