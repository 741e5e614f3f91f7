parent = dict(
    config='mmhkt::alone/wrn40-2_240e_cifar100.py',
    checkpoint='work_dirs/wrn40-2_240e_cifar100/child.pth')
