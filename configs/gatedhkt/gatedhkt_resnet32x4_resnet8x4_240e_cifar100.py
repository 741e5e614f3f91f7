_base_ = [
    '../alone/resnet8x4_240e_cifar100.py',
    '../_base_/parents/resnet32x4_240e_cifar100.py'
]

method = dict(type='mmhkt.GatedHKT')
