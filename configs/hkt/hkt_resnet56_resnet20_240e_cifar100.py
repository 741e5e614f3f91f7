_base_ = '../alone/resnet20_240e_cifar100.py'

parent = dict(
    config='mmhkt::alone/resnet56_240e_cifar100.py',
    checkpoint='work_dirs/resnet56_240e_cifar100/child.pth')
method = dict(type='mmhkt.HKT')
