_base_ = [
    '../alone/resnet20_240e_cifar100.py',
    '../_base_/parents/resnet56_240e_cifar100.py'
]

method = dict(type='mmhkt.GatedHKT')
