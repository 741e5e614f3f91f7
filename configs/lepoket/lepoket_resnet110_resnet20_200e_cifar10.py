_base_ = [
    '../alone/resnet20_200e_cifar10.py',
    '../_base_/parents/resnet110_200e_cifar10.py'
]

method = dict(type='mmhkt.LePoKet')
