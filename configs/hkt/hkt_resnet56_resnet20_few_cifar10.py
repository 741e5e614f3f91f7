_base_ = '../alone/resnet20_few_cifar10.py'

parent = dict(
    config='mmhkt::alone/resnet56_200e_cifar10.py',
    checkpoint='data/checkpoints/resnet56-4bfd9763.th',
    revise_keys=[(r'^module\.linear', 'head.fc'), (r'^module\.', 'backbone.')])
method = dict(type='mmhkt.HKT')
default_hooks = dict(
    extraction=dict(type='mmhkt.ExtractionHook', score_parent=True))
