_base_ = [
    '../_base_/models/resnet8-w8_cifar.py',
    '../_base_/datasets/fashion_mnist_npz.py',
    '../_base_/schedules/fashion_30e.py', '../_base_/methods/alone.py',
    '../_base_/default_runtime.py'
]

memory_format = 'channels_last'
# The best rate of 0.1, 0.2, 0.4 and 0.8 for this child alone, on 10,000 images
# taken from the training set, in 6 epochs.
optim_wrapper = dict(optimizer=dict(lr=0.4))
param_scheduler = dict(eta_max=0.4)
