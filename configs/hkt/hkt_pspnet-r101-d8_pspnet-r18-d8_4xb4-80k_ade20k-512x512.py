_base_ = '../alone/pspnet-r18-d8_4xb4-80k_ade20k-512x512.py'

parent = dict(
    config='mmseg::pspnet/pspnet_r101-d8_4xb4-80k_ade20k-512x512.py',
    checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/'
    'pspnet/pspnet_r101-d8_512x512_80k_ade20k/'
    'pspnet_r101-d8_512x512_80k_ade20k_20200614_031423-b6e782f0.pth')
method = dict(type='mmhkt.HKT')
