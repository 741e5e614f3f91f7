# What makes Assimilation work, on the images of the study of HKT.
_base_ = './hkt_resnet56_resnet20_few_cifar10.py'


def assimilation(**settings):
    return dict(type='mmhkt.Assimilation', **settings)


comparison = dict(
    _delete_=True,
    methods={
        'alone':
        'mmhkt.Alone',
        'assimilation':
        assimilation(),
        # Its weight, and a native loss beside it.
        'weight-10':
        assimilation(weights=dict(assimilation=10)),
        'weight-30':
        assimilation(weights=dict(assimilation=30)),
        'weight-300':
        assimilation(weights=dict(assimilation=300)),
        'native':
        assimilation(weights=dict(native=1)),
        # The mixture half of each, all the time; the child needs a native
        # loss then.
        'half':
        assimilation(
            attention=dict(intensity=0.5), schedule=[],
            weights=dict(native=1)),
        # The same errors of the child's own features: nothing is mixed.
        'unmixed':
        assimilation(attention=dict(intensity=0.0), schedule=[]),
        # The mixture alone: nothing is assimilated.
        'unassimilated':
        assimilation(weights=dict(assimilation=0)),
        # Hints as FitNet has them, with a regressor, at one stage and at all.
        'fitnet':
        'mmhkt.FitNet',
        'fitnet-stages':
        dict(type='mmhkt.FitNet', sites='stages'),
        # With HKT at the pooled feature.
        'assimilation+hkt': [assimilation(), 'mmhkt.HKT'],
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
