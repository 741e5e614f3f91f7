# `pretrained_models/resnet20-12fca82f.th` of
# https://github.com/akamaster/pytorch_resnet_cifar10
parent = dict(
    config='mmhkt::alone/resnet20_200e_cifar10.py',
    checkpoint='data/checkpoints/resnet20-12fca82f.th',
    revise_keys=[(r'^module\.linear', 'head.fc'), (r'^module\.', 'backbone.')])
