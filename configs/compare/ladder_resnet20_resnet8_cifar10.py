# Accuracy against the length of training, until the child alone is flat, on
# all of CIFAR-10, with a parent of others, which has seen the same images.
# `parent.cache` spares the parent from the second epoch on: an image has two
# views.
_base_ = [
    '../alone/resnet8_30e_cifar10.py',
    '../_base_/parents/resnet20_published_cifar10.py'
]

comparison = dict(
    methods={
        'Alone': 'mmhkt.Alone',
        'KD': 'mmhkt.KD',
        'DKD': dict(type='mmhkt.DKD', weights=dict(nontarget=2.0)),
        'ReviewKD':
        dict(type='mmhkt.ReviewKD', weights=dict(distillation=0.6)),
        'FitNet-stages': dict(type='mmhkt.FitNet', sites='stages'),
        'HKT': 'mmhkt.HKT',
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000],
    budgets=['3 epochs', '15 epochs', '30 epochs'])
