# Hints for a child that cannot make its parent's features: how much of them,
# and whether beside its own loss. Minutes on a CPU, nothing to download.
_base_ = [
    '../alone/resnet8-narrow_digits.py', '../_base_/parents/resnet20_digits.py'
]


def hkt(**settings):
    return dict(type='mmhkt.HKT', **settings)


comparison = dict(
    methods={
        'alone': 'mmhkt.Alone',
        'hkt': hkt(),
        'hint-10': hkt(weights=dict(hint=10)),
        'hint-1': hkt(weights=dict(hint=1)),
        'native': hkt(weights=dict(native=1)),
        'native-hint-10': hkt(weights=dict(native=1, hint=10)),
        'unmixed': hkt(attention=dict(intensity=0.0), schedule=[]),
        'gated': 'mmhkt.GatedHKT',
        'kd': 'mmhkt.KD',
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000, 3000, 4000],
    train_parent=True)
