_base_ = '../alone/deeplabv3-r18-d8_4xb4-40k_voc12aug-512x512.py'

parent = dict(
    config='mmseg::deeplabv3/deeplabv3_r101-d8_4xb4-40k_voc12aug-512x512.py',
    checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/'
    'deeplabv3/deeplabv3_r101-d8_512x512_40k_voc12aug/'
    'deeplabv3_r101-d8_512x512_40k_voc12aug_20200613_161432-0017d784.pth')
method = dict(type='mmhkt.HKT')
