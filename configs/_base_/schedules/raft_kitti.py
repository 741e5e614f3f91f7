# RAFT's fourth stage: 50,000 iterations from the third one's weights

# optimizer
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-5),
    clip_grad=dict(max_norm=1.0))
# learning policy
param_scheduler = dict(
    type='OneCycleLR',
    eta_max=1e-4,
    total_steps=50000,
    pct_start=0.05,
    anneal_strategy='linear',
    by_epoch=False)

# train, val, test setting
train_cfg = dict(by_epoch=False, max_iters=50000, val_interval=5000)
val_cfg = dict()
test_cfg = dict()

# NOTE: `auto_scale_lr` is for automatically scaling LR
# based on the actual training batch size.
auto_scale_lr = dict(base_batch_size=6)
