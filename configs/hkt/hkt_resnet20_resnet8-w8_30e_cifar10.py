_base_ = [
    '../alone/resnet8-w8_30e_cifar10.py',
    '../_base_/parents/resnet20_published_cifar10.py'
]

method = dict(type='mmhkt.HKT')
