_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'

runner_type = 'mmhkt.InheritanceRunner'
parent = dict(
    config='mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py',
    checkpoint='https://mmassets.onedl.ai/mmclassification/v0/'
    'swin-transformer/'
    'swin_tiny_224_b16x64_300e_imagenet_20210616_090925-66df6be6.pth')
method = dict(type='mmhkt.HKT')
