# minutes on a CPU

# optimizer
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0))
# learning policy
param_scheduler = dict(
    type='OneCycleLR',
    eta_max=1e-3,
    total_steps=400,
    pct_start=0.05,
    anneal_strategy='linear',
    by_epoch=False)

# train, val, test setting
train_cfg = dict(by_epoch=False, max_iters=400, val_interval=200)
val_cfg = dict()
test_cfg = dict()

# NOTE: `auto_scale_lr` is for automatically scaling LR
# based on the actual training batch size.
auto_scale_lr = dict(base_batch_size=4)
