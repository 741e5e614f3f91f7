# 12 epochs of 5,000 images, one cycle up and down: a look at real data on a
# CPU within minutes. A config that uses it sets `train_dataloader =
# dict(batch_size=64, dataset=dict(indices=5000))`.

# optimizer
# The best rate of 0.05, 0.1 and 0.2 for a ResNet-20 alone, see
# docs/evidence/few_images.md.
optim_wrapper = dict(
    optimizer=dict(
        type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4))
# learning policy: 12 epochs of 79 batches of 64
param_scheduler = dict(
    type='OneCycleLR', eta_max=0.1, total_steps=948, by_epoch=False)

# train, val, test setting
train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=6)
val_cfg = dict()
test_cfg = dict()

# NOTE: `auto_scale_lr` is for automatically scaling LR
# based on the actual training batch size.
auto_scale_lr = dict(base_batch_size=64)
