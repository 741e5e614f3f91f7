_base_ = [
    '../_base_/models/resnet8-w8_cifar.py',
    '../_base_/datasets/cifar10_flips_npz.py',
    '../_base_/schedules/cifar_30e.py', '../_base_/methods/alone.py',
    '../_base_/default_runtime.py'
]

memory_format = 'channels_last'
