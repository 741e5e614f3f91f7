_base_ = [
    '../alone/wrn40-1_240e_cifar100.py',
    '../_base_/parents/wrn40-2_240e_cifar100.py'
]

method = dict(type='mmhkt.HKT')
