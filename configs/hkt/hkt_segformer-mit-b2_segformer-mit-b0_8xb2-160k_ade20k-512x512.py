_base_ = 'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py'

runner_type = 'mmhkt.InheritanceRunner'
parent = dict(
    config='mmseg::segformer/segformer_mit-b2_8xb2-160k_ade20k-512x512.py',
    checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/'
    'segformer/segformer_mit-b2_512x512_160k_ade20k/'
    'segformer_mit-b2_512x512_160k_ade20k_20210726_112103-cbd414ac.pth')
method = dict(type='mmhkt.HKT')
