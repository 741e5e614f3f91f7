_base_ = 'mmseg::hrnet/fcn_hr18s_4xb2-80k_cityscapes-512x1024.py'

runner_type = 'mmhkt.InheritanceRunner'
parent = dict(
    config='mmseg::segformer/segformer_mit-b2_8xb1-160k_'
    'cityscapes-1024x1024.py',
    checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/'
    'segformer/segformer_mit-b2_8x1_1024x1024_160k_cityscapes/'
    'segformer_mit-b2_8x1_1024x1024_160k_cityscapes_20211207_'
    '134205-6096669a.pth')
method = dict(type='mmhkt.HKT')
