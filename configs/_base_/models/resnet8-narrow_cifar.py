_base_ = './resnet20_cifar.py'

# small enough for images of 8x8 pixels and to leave something to learn
model = dict(
    backbone=dict(depth=8, widths=(4, 4, 8, 16)), head=dict(in_channels=16))
