_base_ = [
    '../_base_/models/resnet20_cifar.py',
    '../_base_/datasets/fashion_mnist_npz.py',
    '../_base_/schedules/fashion_30e.py', '../_base_/methods/alone.py',
    '../_base_/default_runtime.py'
]

memory_format = 'channels_last'
train_cfg = dict(max_epochs=10)
param_scheduler = dict(total_steps=4690)
