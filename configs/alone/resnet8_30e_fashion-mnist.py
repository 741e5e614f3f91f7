_base_ = [
    '../_base_/models/resnet8_cifar.py',
    '../_base_/datasets/fashion_mnist_npz.py',
    '../_base_/schedules/fashion_30e.py', '../_base_/methods/alone.py',
    '../_base_/default_runtime.py'
]
