# CIFAR-10, all 50,000 images, one cycle of 30 epochs up and down, which a
# ladder of budgets scales. The rate is the best of 0.1, 0.2, 0.4 and 0.8 for a
# ResNet-8 alone, on 10,000 images taken from the training set, in 6 epochs.

# optimizer
optim_wrapper = dict(
    optimizer=dict(
        type='SGD', lr=0.8, momentum=0.9, nesterov=True, weight_decay=5e-4))
# learning policy: 30 epochs of 391 batches of 128
param_scheduler = dict(
    type='OneCycleLR', eta_max=0.8, total_steps=11730, by_epoch=False)

# train, val, test setting
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=10)
val_cfg = dict()
test_cfg = dict()

# NOTE: `auto_scale_lr` is for automatically scaling LR
# based on the actual training batch size.
auto_scale_lr = dict(base_batch_size=128)
