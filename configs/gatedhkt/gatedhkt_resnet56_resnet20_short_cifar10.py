_base_ = [
    '../alone/resnet20_short_cifar10.py',
    '../_base_/parents/resnet56_published_cifar10.py'
]

method = dict(type='mmhkt.GatedHKT')
default_hooks = dict(
    extraction=dict(type='mmhkt.ExtractionHook', score_parent=True))
