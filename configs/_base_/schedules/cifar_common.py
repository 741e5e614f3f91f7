# The protocol of most CIFAR distillation papers (RepDistiller): 240 epochs.
# It wants batches of 64 images on one GPU: a config that uses it sets
# `train_dataloader = dict(batch_size=64)`.

# optimizer
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4))
# learning policy
param_scheduler = dict(
    type='MultiStepLR', by_epoch=True, milestones=[150, 180, 210], gamma=0.1)

# train, val, test setting
train_cfg = dict(by_epoch=True, max_epochs=240, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# NOTE: `auto_scale_lr` is for automatically scaling LR
# based on the actual training batch size.
auto_scale_lr = dict(base_batch_size=64)
