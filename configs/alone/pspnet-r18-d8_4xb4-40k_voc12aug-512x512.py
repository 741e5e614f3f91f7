_base_ = [
    'mmseg::pspnet/pspnet_r50-d8_4xb4-40k_voc12aug-512x512.py',
    '../_base_/methods/alone.py'
]

# as the zoo's own R18-D8 for Cityscapes
model = dict(
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(depth=18),
    decode_head=dict(in_channels=512, channels=128),
    auxiliary_head=dict(in_channels=256, channels=64))
