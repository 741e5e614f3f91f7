# RAFT's first stage: 100,000 iterations from random weights

# optimizer
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=4e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0))
# learning policy
param_scheduler = dict(
    type='OneCycleLR',
    eta_max=4e-4,
    total_steps=100000,
    pct_start=0.05,
    anneal_strategy='linear',
    by_epoch=False)

# train, val, test setting
train_cfg = dict(by_epoch=False, max_iters=100000, val_interval=5000)
val_cfg = dict()
test_cfg = dict()

# NOTE: `auto_scale_lr` is for automatically scaling LR
# based on the actual training batch size.
auto_scale_lr = dict(base_batch_size=10)
