parent = dict(
    config='mmhkt::alone/resnet110_200e_cifar10.py',
    checkpoint='work_dirs/resnet110_200e_cifar10/child.pth')
