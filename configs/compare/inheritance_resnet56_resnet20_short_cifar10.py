# All 50,000 images of CIFAR-10, 4 epochs: hours on a CPU.
_base_ = [
    '../alone/resnet20_short_cifar10.py',
    '../_base_/parents/resnet56_published_cifar10.py'
]

comparison = dict(
    methods={
        'Alone': 'mmhkt.Alone',
        'DKD': dict(type='mmhkt.DKD', weights=dict(nontarget=2.0)),
        'FitNet': 'mmhkt.FitNet',
        'GatedHKT': 'mmhkt.GatedHKT',
        'HKT': 'mmhkt.HKT',
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
