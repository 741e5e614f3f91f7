# 12 epochs of 5,000 images, one cycle up and down: a look at real data on a
# CPU within minutes. A config that uses it sets `train_dataloader =
# dict(dataset=dict(indices=5000))`.

# optimizer
optim_wrapper = dict(
    optimizer=dict(
        type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4))
# learning policy: 12 epochs of 40 batches of 128
param_scheduler = dict(
    type='OneCycleLR', eta_max=0.1, total_steps=480, by_epoch=False)

# train, val, test setting
train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=3)
val_cfg = dict()
test_cfg = dict()

# NOTE: `auto_scale_lr` is for automatically scaling LR
# based on the actual training batch size.
auto_scale_lr = dict(base_batch_size=128)
