_base_ = [
    'mmpretrain::resnet/resnet18_8xb16_cifar10.py',
    '../_base_/methods/lepoket.py',
    '../_base_/parents/resnet50_8xb16_cifar10.py'
]
