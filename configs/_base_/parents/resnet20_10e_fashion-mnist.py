parent = dict(
    config='mmhkt::alone/resnet20_10e_fashion-mnist.py',
    checkpoint='work_dirs/resnet20_10e_fashion-mnist/child.pth',
    memory_format='channels_last')
