_base_ = '../alone/pspnet-r18-d8_4xb4-40k_voc12aug-512x512.py'

parent = dict(
    config='mmseg::pspnet/pspnet_r101-d8_4xb4-40k_voc12aug-512x512.py',
    checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/'
    'pspnet/pspnet_r101-d8_512x512_40k_voc12aug/'
    'pspnet_r101-d8_512x512_40k_voc12aug_20200613_161222-bc933b18.pth')
method = dict(type='mmhkt.HKT')
