# What HKT's settings do, each changed alone: 12 epochs of 5,000 images of
# CIFAR-10, judged on 5,000 other training images, so that no choice is made
# on the test set. `--methods` picks some of them, see docs/evidence.md.
_base_ = [
    '../alone/resnet20_few_cifar10.py',
    '../_base_/parents/resnet56_published_cifar10.py'
]

# The last of the training images; their official order is random.
val_dataloader = dict(
    dataset=dict(split='train', indices=list(range(45000, 50000))))


def hkt(**settings):
    return dict(type='mmhkt.HKT', **settings)


def intensity(start=1.0, stop=1.0, **settings):
    return dict(knob='intensity', start=start, stop=stop, **settings)


# Terms that are added to a loss act like a higher learning rate too: all but
# `sum` and `as-published` have weights that add up to 1.
comparison = dict(
    methods={
        'alone':
        'mmhkt.Alone',
        'hkt':
        hkt(),
        # Loss terms.
        'sum':
        hkt(weights=dict(native=1, inherited=1, parent_head=1)),
        # As steep a loss as three terms make, without a parent.
        'alone-sum':
        dict(type='mmhkt.Alone', weights=dict(native=3)),
        'without-parent-head':
        hkt(weights=dict(native=0.5, inherited=0.5, parent_head=0)),
        'without-inherited':
        hkt(weights=dict(native=0.5, inherited=0, parent_head=0.5)),
        'own-judged':
        hkt(judged='own'),
        # No mixture anywhere.
        'own-judged-without-inherited':
        hkt(judged='own',
            weights=dict(native=0.5, inherited=0, parent_head=0.5)),
        'mostly-native':
        hkt(weights=dict(native=0.6, inherited=0.2, parent_head=0.2)),
        # The gate: with its gradient, the other selection, none, and its
        # strength.
        'as-published':
        hkt(as_published=True),
        'gate-gradient':
        hkt(attention=dict(gate_gradient=True)),
        'affinity':
        hkt(attention=dict(select='affinity')),
        'no-gate':
        hkt(attention=dict(mode='static', intensity=0.6)),
        'intensity-1.0':
        hkt(attention=dict(intensity=1.0)),
        # Intensity over time.
        'affinity-weaned':
        hkt(attention=dict(select='affinity'),
            schedule=[intensity(1.0, 0.0, end=0.7)]),
        'affinity-warmed-up-weaned':
        hkt(attention=dict(select='affinity'),
            schedule=[
                intensity(0.0, 1.0, end=0.3),
                intensity(1.0, 0.0, begin=0.5, end=0.9)
            ]),
        # Sites.
        'last-stage':
        hkt(sites='last'),
        'last-stage-per-position':
        hkt(sites='last', attention=dict(gate_per='position')),
        'middle-stage':
        hkt(sites='middle'),
        'stages':
        hkt(sites='stages'),
        # Scale of what is transferred.
        'scale-channel':
        hkt(scale='channel'),
        'scale-norm':
        hkt(scale='norm'),
        # Chance.
        'affinity-drop-0.5':
        hkt(attention=dict(select='affinity', drop=0.5)),
        'affinity-random-intensity':
        hkt(
            attention=dict(
                select='affinity', intensity=1.0, random_intensity=True)),
        # With a distiller.
        'kd':
        'mmhkt.KD',
        'hkt+kd': [hkt(), 'mmhkt.KD'],
        'dkd':
        dict(type='mmhkt.DKD', weights=dict(nontarget=2.0)),
        'hkt+dkd':
        [hkt(), dict(type='mmhkt.DKD', weights=dict(nontarget=2.0))],
        'fitnet':
        'mmhkt.FitNet',
        'hkt+fitnet': [hkt(), 'mmhkt.FitNet'],
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
