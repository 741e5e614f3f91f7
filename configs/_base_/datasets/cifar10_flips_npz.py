# CIFAR-10 as one file of arrays, flipped and no more: an image has two views,
# so that a parent's features of both can be kept, see `parent.cache`. All
# images are held where the training is.
_base_ = './cifar10_npz.py'

train_pipeline = [
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]

train_dataloader = dict(on_device=True, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(on_device=True)
test_dataloader = dict(on_device=True)
