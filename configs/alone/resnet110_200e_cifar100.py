_base_ = [
    '../_base_/models/resnet110_cifar.py', '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_reference.py', '../_base_/methods/alone.py',
    '../_base_/default_runtime.py'
]

model = dict(head=dict(num_classes=100))
