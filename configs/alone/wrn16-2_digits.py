_base_ = [
    '../_base_/models/wrn16-2_cifar.py', '../_base_/datasets/digits.py',
    '../_base_/schedules/digits.py', '../_base_/methods/alone.py',
    '../_base_/default_runtime.py'
]
