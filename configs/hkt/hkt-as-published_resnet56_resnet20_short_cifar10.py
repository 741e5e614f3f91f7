_base_ = './hkt_resnet56_resnet20_short_cifar10.py'

method = dict(as_published=True)
