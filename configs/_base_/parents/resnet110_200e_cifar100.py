parent = dict(
    config='mmhkt::alone/resnet110_200e_cifar100.py',
    checkpoint='work_dirs/resnet110_200e_cifar100/child.pth')
