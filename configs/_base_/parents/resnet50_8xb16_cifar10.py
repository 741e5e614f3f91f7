parent = dict(
    config='mmpretrain::resnet/resnet50_8xb16_cifar10.py',
    checkpoint='https://mmassets.onedl.ai/mmclassification/v0/resnet/'
    'resnet50_b16x8_cifar10_20210528-f54bfad9.pth')
