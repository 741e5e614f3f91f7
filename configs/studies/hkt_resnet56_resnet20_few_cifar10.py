# What makes HKT's default work, on the images of the study of the gate.
_base_ = './gate_resnet56_resnet20_few_cifar10.py'


def hkt(**settings):
    return dict(type='mmhkt.HKT', **settings)


def dkd():
    return dict(type='mmhkt.DKD', weights=dict(nontarget=2.0))


comparison = dict(
    _delete_=True,
    methods={
        'alone':
        'mmhkt.Alone',
        'hkt':
        hkt(),
        # Its weight, and a native loss beside it.
        'weight-10':
        hkt(weights=dict(hint=10)),
        'weight-30':
        hkt(weights=dict(hint=30)),
        'weight-300':
        hkt(weights=dict(hint=300)),
        'native':
        hkt(weights=dict(native=1)),
        # The mixture half of each, all the time; the child needs a native
        # loss then.
        'half':
        hkt(attention=dict(intensity=0.5), schedule=[],
            weights=dict(native=1)),
        # The same errors of the child's own features: nothing is mixed.
        'unmixed':
        hkt(attention=dict(intensity=0.0), schedule=[]),
        # The mixture alone: there are no hints.
        'unhinted':
        hkt(weights=dict(hint=0)),
        # Hints as FitNet has them, with a regressor, at one stage and at all.
        'fitnet':
        'mmhkt.FitNet',
        'fitnet-stages':
        dict(type='mmhkt.FitNet', sites='stages'),
        # With a distiller, of the mixture's logits or of the child's own.
        'dkd':
        dkd(),
        'hkt+dkd': [hkt(), dkd()],
        'dkd+hkt': [dkd(), hkt()],
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
