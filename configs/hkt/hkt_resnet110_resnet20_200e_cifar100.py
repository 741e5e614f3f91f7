_base_ = [
    '../alone/resnet20_200e_cifar100.py',
    '../_base_/parents/resnet110_200e_cifar100.py'
]

method = dict(type='mmhkt.HKT')
