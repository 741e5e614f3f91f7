_base_ = 'mmseg::hrnet/fcn_hr18s_4xb4-160k_ade20k-512x512.py'

runner_type = 'mmhkt.InheritanceRunner'
parent = dict(
    config='mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_'
    'ade20k-512x512.py',
    checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/swin/'
    'upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K/'
    'upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K_'
    '20210531_112542-e380ad3e.pth')
method = dict(type='mmhkt.HKT')
