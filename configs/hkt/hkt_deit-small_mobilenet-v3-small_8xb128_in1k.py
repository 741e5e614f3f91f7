_base_ = 'mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py'

runner_type = 'mmhkt.InheritanceRunner'
parent = dict(
    config='mmpretrain::deit/deit-small_4xb256_in1k.py',
    checkpoint='https://mmassets.onedl.ai/mmclassification/v0/deit/'
    'deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth')
method = dict(type='mmhkt.HKT')
