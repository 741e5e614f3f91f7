# A parent that has seen no image that its child of 12 epochs does not see.
_base_ = [
    '../_base_/models/resnet56_cifar.py', '../_base_/datasets/cifar10_npz.py',
    '../_base_/schedules/cifar_few.py', '../_base_/methods/alone.py',
    '../_base_/default_runtime.py'
]

# the first 5,000 images
train_dataloader = dict(batch_size=64, dataset=dict(indices=5000))
# twice the schedule
train_cfg = dict(max_epochs=24)
param_scheduler = dict(total_steps=1896)
