_base_ = '../alone/resnet20_240e_cifar10.py'

parent = dict(
    config='mmhkt::alone/resnet56_240e_cifar10.py',
    checkpoint='work_dirs/resnet56_240e_cifar10/child.pth')
method = dict(type='mmhkt.HKT')
