_base_ = '../alone/deeplabv3-r18-d8_4xb4-80k_ade20k-512x512.py'

parent = dict(
    config='mmseg::deeplabv3/deeplabv3_r101-d8_4xb4-80k_ade20k-512x512.py',
    checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/'
    'deeplabv3/deeplabv3_r101-d8_512x512_80k_ade20k/'
    'deeplabv3_r101-d8_512x512_80k_ade20k_20200615_021256-d89c7fa4.pth')
method = dict(type='mmhkt.HKT')
