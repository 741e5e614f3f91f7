# `pretrained_models/resnet56-4bfd9763.th` of
# https://github.com/akamaster/pytorch_resnet_cifar10
parent = dict(
    config='mmhkt::alone/resnet56_200e_cifar10.py',
    checkpoint='data/checkpoints/resnet56-4bfd9763.th',
    revise_keys=[(r'^module\.linear', 'head.fc'), (r'^module\.', 'backbone.')])
