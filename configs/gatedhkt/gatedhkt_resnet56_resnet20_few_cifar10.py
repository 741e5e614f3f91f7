_base_ = [
    '../alone/resnet20_few_cifar10.py',
    '../_base_/parents/resnet56_published_cifar10.py'
]

method = dict(type='mmhkt.GatedHKT')
