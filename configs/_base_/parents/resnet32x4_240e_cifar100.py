parent = dict(
    config='mmhkt::alone/resnet32x4_240e_cifar100.py',
    checkpoint='work_dirs/resnet32x4_240e_cifar100/child.pth')
