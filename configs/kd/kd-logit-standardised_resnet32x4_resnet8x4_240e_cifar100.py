_base_ = [
    '../_base_/models/resnet8x4_cifar.py', '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_common.py',
    '../_base_/methods/kd_logit-standardised.py',
    '../_base_/parents/resnet32x4_240e_cifar100.py',
    '../_base_/default_runtime.py'
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
