_base_ = './resnet20_cifar.py'

# half as wide
model = dict(
    backbone=dict(depth=8, widths=(8, 8, 16, 32)), head=dict(in_channels=32))
