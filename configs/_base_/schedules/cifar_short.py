# 4 epochs of all 50,000 images, one cycle up and down: a longer look at real
# data on a CPU. A config that uses it sets `train_dataloader =
# dict(batch_size=64)`.

# optimizer
optim_wrapper = dict(
    optimizer=dict(
        type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4))
# learning policy: 4 epochs of 782 batches of 64
param_scheduler = dict(
    type='OneCycleLR', eta_max=0.1, total_steps=3128, by_epoch=False)

# train, val, test setting
train_cfg = dict(by_epoch=True, max_epochs=4, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# NOTE: `auto_scale_lr` is for automatically scaling LR
# based on the actual training batch size.
auto_scale_lr = dict(base_batch_size=64)
