# What each part of HKT's default brings to a child of 100 labelled digits.
# Minutes on a CPU, nothing to download.
_base_ = '../compare/inheritance_resnet20_resnet8_few_digits.py'


def hkt(**settings):
    return dict(type='mmhkt.HKT', **settings)


comparison = dict(
    _delete_=True,
    methods={
        'alone': 'mmhkt.Alone',
        'hkt': hkt(),
        # Without the parent's logits.
        'untaught': hkt(weights=dict(logits=0)),
        # Hints on the child's own features: nothing is mixed.
        'unmixed': hkt(weights=dict(native=1, inherited=0)),
        'unhinted': hkt(weights=dict(hint=0)),
        'unbounded': hkt(bound=0),
        # Nothing is weaned: the mixture must be, or the child leans on it.
        'hinted-to-the-end': hkt(schedule=[dict(knob='intensity', end=0.7)]),
        # Each part by itself.
        'mixture': hkt(weights=dict(hint=0, logits=0)),
        'hints': hkt(weights=dict(native=1, inherited=0, logits=0)),
        'logits': hkt(weights=dict(native=1, inherited=0, hint=0)),
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000, 3000, 4000],
    train_parent=True)
