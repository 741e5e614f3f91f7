_base_ = [
    '../_base_/models/resnet20_cifar.py', '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_reference.py',
    '../_base_/methods/hkt_as-published.py',
    '../_base_/parents/resnet110_200e_cifar10.py',
    '../_base_/default_runtime.py'
]
