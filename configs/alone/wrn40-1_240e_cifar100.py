_base_ = [
    '../_base_/models/wrn40-1_cifar.py', '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_common.py', '../_base_/methods/alone.py',
    '../_base_/default_runtime.py'
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
