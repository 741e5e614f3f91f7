parent = dict(
    config='mmhkt::alone/resnet20_30e_fashion-mnist.py',
    checkpoint='work_dirs/resnet20_30e_fashion-mnist/child.pth')
