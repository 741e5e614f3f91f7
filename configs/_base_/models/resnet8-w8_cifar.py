_base_ = './resnet8_cifar.py'

# half as wide
model = dict(backbone=dict(widths=(8, 8, 16, 32)), head=dict(in_channels=32))
