_base_ = 'mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py'

runner_type = 'mmhkt.InheritanceRunner'
parent = dict(
    config='mmseg::segformer/segformer_mit-b2_8xb1-160k_'
    'cityscapes-1024x1024.py',
    checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/'
    'segformer/segformer_mit-b2_8x1_1024x1024_160k_cityscapes/'
    'segformer_mit-b2_8x1_1024x1024_160k_cityscapes_20211207_'
    '134205-6096669a.pth')
method = dict(type='mmhkt.HKT')
