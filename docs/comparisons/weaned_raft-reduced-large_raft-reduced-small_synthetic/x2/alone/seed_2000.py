auto_scale_lr = dict(base_batch_size=4)
custom_hooks = [
    dict(type='mmhkt.RecordHook'),
    dict(number=4, type='mmhkt.ExamplesHook'),
]
data_preprocessor = dict(type='mmhkt.FlowDataPreprocessor')
dataset_type = 'mmhkt.SyntheticFlow'
default_hooks = dict(
    checkpoint=dict(
        by_epoch=False,
        interval=200,
        max_keep_ckpts=2,
        rule='less',
        save_best='EPE',
        type='CheckpointHook'),
    extraction=dict(score_parent=False, type='mmhkt.ExtractionHook'),
    logger=dict(interval=100, log_metric_by_epoch=False, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    timer=dict(type='IterTimerHook'),
    visualization=dict(enable=False, type='mmhkt.FlowVisualizationHook'))
default_scope = 'mmpretrain'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
load_from = None
log_level = 'INFO'
log_processor = dict(by_epoch=False)
method = dict(type='mmhkt.Alone')
model = dict(
    iters_test=4,
    iters_train=4,
    size=dict(
        context_encoder_block='ResidualBlock',
        context_encoder_layers=(
            16,
            16,
            24,
            32,
            64,
        ),
        context_encoder_norm_layer=None,
        corr_block_num_levels=2,
        corr_block_radius=3,
        feature_encoder_block='ResidualBlock',
        feature_encoder_layers=(
            16,
            16,
            24,
            32,
            64,
        ),
        feature_encoder_norm_layer='InstanceNorm2d',
        flow_head_hidden_size=64,
        motion_encoder_corr_layers=(48, ),
        motion_encoder_flow_layers=(
            32,
            16,
        ),
        motion_encoder_out_channels=40,
        recurrent_block_hidden_state_size=32,
        recurrent_block_kernel_size=(3, ),
        recurrent_block_padding=(1, ),
        use_mask_predictor=False),
    type='mmhkt.RAFT')
optim_wrapper = dict(
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(lr=0.001, type='AdamW', weight_decay=0.0001))
param_scheduler = dict(
    anneal_strategy='linear',
    by_epoch=False,
    eta_max=0.001,
    pct_start=0.05,
    total_steps=800,
    type='OneCycleLR')
parent = dict(
    checkpoint='work_dirs/raft-reduced-large_synthetic/child.pth',
    config='mmhkt::alone/raft-reduced-large_synthetic.py')
randomness = dict(deterministic=False, seed=2000)
resume = False
runner_type = 'mmhkt.InheritanceRunner'
size = (
    160,
    192,
)
test_cfg = dict()
test_dataloader = dict(
    batch_size=4,
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        length=100,
        pipeline=[
            dict(type='mmhkt.PackFlowInputs'),
        ],
        seed=1,
        size=(
            160,
            192,
        ),
        type='mmhkt.SyntheticFlow'),
    num_workers=0,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(type='mmhkt.EndPointError')
test_pipeline = [
    dict(type='mmhkt.PackFlowInputs'),
]
train_cfg = dict(by_epoch=False, max_iters=800, val_interval=400)
train_dataloader = dict(
    batch_size=4,
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        length=2000,
        pipeline=[
            dict(horizontal=0.5, type='mmhkt.RandomFlowFlip', vertical=0.5),
            dict(type='mmhkt.PackFlowInputs'),
        ],
        seed=0,
        size=(
            160,
            192,
        ),
        type='mmhkt.SyntheticFlow'),
    num_workers=0,
    sampler=dict(shuffle=True, type='InfiniteSampler'))
train_pipeline = [
    dict(horizontal=0.5, type='mmhkt.RandomFlowFlip', vertical=0.5),
    dict(type='mmhkt.PackFlowInputs'),
]
val_cfg = dict()
val_dataloader = dict(
    batch_size=4,
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        length=100,
        pipeline=[
            dict(type='mmhkt.PackFlowInputs'),
        ],
        seed=1,
        size=(
            160,
            192,
        ),
        type='mmhkt.SyntheticFlow'),
    num_workers=0,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(type='mmhkt.EndPointError')
vis_backends = [
    dict(type='LocalVisBackend'),
]
visualizer = dict(
    type='mmhkt.FlowLocalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = 'work_dirs/inheritance_raft-reduced-large_raft-reduced-small_synthetic/x2/alone/seed_2000'
