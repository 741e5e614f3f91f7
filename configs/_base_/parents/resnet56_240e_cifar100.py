parent = dict(
    config='mmhkt::alone/resnet56_240e_cifar100.py',
    checkpoint='work_dirs/resnet56_240e_cifar100/child.pth')
