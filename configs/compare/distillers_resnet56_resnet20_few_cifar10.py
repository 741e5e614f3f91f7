# Methods side by side on real data, within hours on a CPU: 12 epochs of 5,000
# images of CIFAR-10. Settings that depend on the pair are those of the papers.
_base_ = [
    '../alone/resnet20_few_cifar10.py',
    '../_base_/parents/resnet56_published_cifar10.py'
]

dkd = dict(type='mmhkt.DKD', weights=dict(nontarget=2.0))

comparison = dict(
    methods=[
        'mmhkt.Alone',
        'mmhkt.KD',
        dkd,
        'mmhkt.DIST',
        'mmhkt.FitNet',
        'mmhkt.AT',
        'mmhkt.SP',
        'mmhkt.RKD',
        dict(type='mmhkt.ReviewKD', weights=dict(distillation=0.6)),
        'mmhkt.LePoKet',
        'mmhkt.HKT',
        ['mmhkt.HKT', dkd],
        ['mmhkt.HKT', 'mmhkt.FitNet'],
    ],
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
