# 300 iterations, minutes on a CPU

# optimizer
optim_wrapper = dict(optimizer=dict(type='Adam', lr=0.005))
# learning policy
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=30),
    dict(type='PolyLR', power=0.9, by_epoch=False, begin=30, end=300)
]

# train, val, test setting
train_cfg = dict(type='IterBasedTrainLoop', max_iters=300, val_interval=60)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=60,
        max_keep_ckpts=2,
        save_best='mIoU'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))
randomness = dict(seed=0)
