# What is compared at several lengths of training.
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
    seeds=[0, 1000, 2000])
