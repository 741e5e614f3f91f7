# Methods side by side on real data, within hours on a CPU: 12 epochs of 5,000
# images of CIFAR-10. Settings that depend on the pair are those of the papers.
_base_ = [
    '../alone/resnet20_few_cifar10.py',
    '../_base_/parents/resnet56_published_cifar10.py'
]

comparison = dict(
    methods={
        'Alone':
        'mmhkt.Alone',
        'KD':
        'mmhkt.KD',
        'DKD':
        dict(type='mmhkt.DKD', weights=dict(nontarget=2.0)),
        'DIST':
        'mmhkt.DIST',
        'FitNet':
        'mmhkt.FitNet',
        # not published: for comparison with what has several sites
        'FitNet-stages':
        dict(type='mmhkt.FitNet', sites='stages'),
        'AT':
        'mmhkt.AT',
        'SP':
        'mmhkt.SP',
        'RKD':
        'mmhkt.RKD',
        'ReviewKD':
        dict(type='mmhkt.ReviewKD', weights=dict(distillation=0.6)),
        'LePoKet':
        'mmhkt.LePoKet',
        'GatedHKT':
        'mmhkt.GatedHKT',
        'GatedHKT+DKD': [
            'mmhkt.GatedHKT',
            dict(type='mmhkt.DKD', weights=dict(nontarget=2.0))
        ],
        'GatedHKT+FitNet': ['mmhkt.GatedHKT', 'mmhkt.FitNet'],
        'HKT':
        'mmhkt.HKT',
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
