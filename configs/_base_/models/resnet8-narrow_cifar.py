_base_ = './resnet8_cifar.py'

# small enough for images of 8x8 pixels and to leave something to learn
model = dict(backbone=dict(widths=(4, 4, 8, 16)), head=dict(in_channels=16))
