_base_ = [
    '../alone/wrn16-2_240e_cifar100.py',
    '../_base_/parents/wrn40-2_240e_cifar100.py'
]

method = dict(type='mmhkt.HKT')
