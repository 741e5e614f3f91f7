_base_ = [
    '../_base_/models/resnet56_cifar.py', '../_base_/datasets/cifar10_npz.py',
    '../_base_/schedules/cifar_reference.py', '../_base_/methods/alone.py',
    '../_base_/published_weights.py', '../_base_/default_runtime.py'
]
