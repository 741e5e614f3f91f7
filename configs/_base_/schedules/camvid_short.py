# 600 iterations, 13 epochs of CamVid: a first look on a CPU
_base_ = './camvid_2k.py'

# learning policy
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='PolyLR', power=0.9, by_epoch=False, begin=100, end=600)
]

# train, val, test setting
train_cfg = dict(max_iters=600)
