# dataset settings
# what tools/dataset_converters/lits.py makes
dataset_type = 'mmhkt.LiTSDataset'
data_root = 'data/lits'
train_pipeline = [
    dict(type='mmhkt.LoadSlices'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=(512, 512),
        ratio_range=(0.75, 1.25),
        keep_ratio=True),
    dict(type='RandomRotate', prob=0.5, degree=15, seg_pad_val=255),
    # no flips: the liver lies on the right
    dict(type='RandomCrop', crop_size=(320, 320)),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='mmhkt.LoadSlices'),
    dict(type='LoadAnnotations'),
    dict(
        type='PackSegInputs',
        # the last three are for VolumeDice
        meta_keys=('img_path', 'seg_map_path', 'ori_shape', 'img_shape',
                   'pad_shape', 'scale_factor', 'flip', 'flip_direction',
                   'reduce_zero_label', 'volume', 'slice', 'slices'))
]
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        # a quarter of the slices without liver
        empty_every=4,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='val',
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))

# as in the challenge the liver contains its tumours
val_evaluator = dict(
    type='mmhkt.VolumeDice', regions=dict(liver=(1, 2), tumour=(2, )))
test_evaluator = val_evaluator
