# dataset settings
# Fashion-MNIST as one file of arrays: `mmhkt prepare fashion-mnist`
dataset_type = 'mmhkt.ArrayDataset'
classes = ('T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal',
           'Shirt', 'Sneaker', 'Bag', 'Ankle boot')
data_preprocessor = dict(
    num_classes=10,
    # the same for each channel: the images are grey
    mean=[72.94, 72.94, 72.94],
    std=[90.02, 90.02, 90.02],
    # loaded images are already RGB format
    to_rgb=False)

# Flips only: an image has two views, so that a parent's features of both can
# be kept, see `parent.cache`. All images are held where the training is.
train_pipeline = [
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]

test_pipeline = [
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=128,
    on_device=True,
    dataset=dict(
        type=dataset_type,
        data_root='data',
        data_file='fashion_mnist.npz',
        classes=classes,
        split='train',
        pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)

val_dataloader = dict(
    batch_size=128,
    on_device=True,
    dataset=dict(
        type=dataset_type,
        data_root='data',
        data_file='fashion_mnist.npz',
        classes=classes,
        split='test',
        pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Accuracy', topk=(1, ))

test_dataloader = val_dataloader
test_evaluator = val_evaluator
