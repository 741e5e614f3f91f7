_base_ = './wrn16-2_cifar.py'

model = dict(backbone=dict(depth=40))
