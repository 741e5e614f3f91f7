# What GatedHKT's settings do, each changed alone: 12 epochs of 5,000 images of
# CIFAR-10, judged on 5,000 other training images, so that no choice is made
# on the test set. `--methods` picks some of them, see docs/former_default.md.
_base_ = [
    '../alone/resnet20_few_cifar10.py',
    '../_base_/parents/resnet56_published_cifar10.py'
]

# The last of the training images; their official order is random.
val_dataloader = dict(
    dataset=dict(split='train', indices=list(range(45000, 50000))))


def gated(**settings):
    return dict(type='mmhkt.GatedHKT', **settings)


def intensity(start=1.0, stop=1.0, **settings):
    return dict(knob='intensity', start=start, stop=stop, **settings)


# Terms that are added to a loss act like a higher learning rate too: all but
# `sum` and `as-published` have weights that add up to 1.
comparison = dict(
    methods={
        'alone':
        'mmhkt.Alone',
        'gated':
        gated(),
        # Loss terms.
        'sum':
        gated(weights=dict(native=1, inherited=1, parent_head=1)),
        # As steep a loss as three terms make, without a parent.
        'alone-sum':
        dict(type='mmhkt.Alone', weights=dict(native=3)),
        'without-parent-head':
        gated(weights=dict(native=0.5, inherited=0.5, parent_head=0)),
        'without-inherited':
        gated(weights=dict(native=0.5, inherited=0, parent_head=0.5)),
        'own-judged':
        gated(judged='own'),
        # No mixture anywhere.
        'own-judged-without-inherited':
        gated(
            judged='own',
            weights=dict(native=0.5, inherited=0, parent_head=0.5)),
        'mostly-native':
        gated(weights=dict(native=0.6, inherited=0.2, parent_head=0.2)),
        # The gate: with its gradient, the other selection, none, and its
        # strength.
        'as-published':
        gated(as_published=True),
        'gate-gradient':
        gated(attention=dict(gate_gradient=True)),
        'affinity':
        gated(attention=dict(select='affinity')),
        'no-gate':
        gated(attention=dict(mode='static', intensity=0.6)),
        'intensity-1.0':
        gated(attention=dict(intensity=1.0)),
        # Intensity over time.
        'affinity-weaned':
        gated(
            attention=dict(select='affinity'),
            schedule=[intensity(1.0, 0.0, end=0.7)]),
        'affinity-warmed-up-weaned':
        gated(
            attention=dict(select='affinity'),
            schedule=[
                intensity(0.0, 1.0, end=0.3),
                intensity(1.0, 0.0, begin=0.5, end=0.9)
            ]),
        # Sites.
        'last-stage':
        gated(sites='last'),
        'last-stage-per-position':
        gated(sites='last', attention=dict(gate_per='position')),
        'middle-stage':
        gated(sites='middle'),
        'stages':
        gated(sites='stages'),
        # Scale of what is transferred.
        'scale-channel':
        gated(scale='channel'),
        'scale-norm':
        gated(scale='norm'),
        # Chance.
        'affinity-drop-0.5':
        gated(attention=dict(select='affinity', drop=0.5)),
        'affinity-random-intensity':
        gated(
            attention=dict(
                select='affinity', intensity=1.0, random_intensity=True)),
        # With a distiller.
        'kd':
        'mmhkt.KD',
        'gated+kd': [gated(), 'mmhkt.KD'],
        'dkd':
        dict(type='mmhkt.DKD', weights=dict(nontarget=2.0)),
        'gated+dkd':
        [gated(), dict(type='mmhkt.DKD', weights=dict(nontarget=2.0))],
        'fitnet':
        'mmhkt.FitNet',
        'gated+fitnet': [gated(), 'mmhkt.FitNet'],
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
