# The first 100 digits: some ten of each class.
_base_ = [
    '../_base_/models/resnet8_cifar.py', '../_base_/datasets/digits.py',
    '../_base_/schedules/digits.py', '../_base_/methods/alone.py',
    '../_base_/default_runtime.py'
]

train_dataloader = dict(batch_size=50, dataset=dict(indices=100))
# as many iterations as all digits have in 20 epochs, about
train_cfg = dict(max_epochs=200, val_interval=20)
# The best rate of 0.02, 0.05, 0.1 and 0.2 for this child alone, on training
# images that it does not learn from, see docs/evidence/few_labels.md.
optim_wrapper = dict(optimizer=dict(lr=0.05))
default_hooks = dict(checkpoint=dict(interval=20))
