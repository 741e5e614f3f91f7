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

# The best of 0.1, 0.3 and 0.6 for the child alone. Terms that are added to its
# loss act like a higher learning rate too; where that rate is too low anyway,
# everything with several terms looks like a gain.
optim_wrapper = dict(optimizer=dict(lr=0.3))
param_scheduler = dict(eta_max=0.3)


def hkt(**settings):
    return dict(type='mmhkt.HKT', **settings)


def intensity(start=1.0, stop=1.0, **settings):
    return dict(knob='intensity', start=start, stop=stop, **settings)


comparison = dict(
    methods={
        'alone':
        'mmhkt.Alone',
        # As steep a loss as three terms make, without a parent.
        'alone-3':
        dict(type='mmhkt.Alone', weights=dict(native=3.0)),
        'hkt':
        hkt(),
        # The gate: as published, the other selection, none, and its strength.
        'as-published':
        hkt(as_published=True),
        'affinity':
        hkt(attention=dict(select='affinity')),
        'no-gate':
        hkt(attention=dict(mode='static', intensity=0.6)),
        'intensity-0.3':
        hkt(attention=dict(intensity=0.3)),
        'intensity-1.0':
        hkt(attention=dict(intensity=1.0)),
        # Intensity over time.
        'weaned':
        hkt(schedule=[intensity(1.0, 0.0, end=0.7)]),
        'warmed-up':
        hkt(schedule=[intensity(0.0, 1.0, end=0.3)]),
        'warmed-up-weaned':
        hkt(schedule=[
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
        'all':
        hkt(sites='all'),
        'stages-scale-channel':
        hkt(sites='stages', scale='channel'),
        # Scale of what is transferred.
        'scale-channel':
        hkt(scale='channel'),
        'scale-norm':
        hkt(scale='norm'),
        # Loss terms.
        'without-parent-head':
        hkt(weights=dict(parent_head=0)),
        'without-inherited':
        hkt(weights=dict(inherited=0)),
        'own-judged':
        hkt(judged='own'),
        'own-judged-without-inherited':
        hkt(judged='own', weights=dict(inherited=0)),
        'parent-head-3':
        hkt(weights=dict(parent_head=3)),
        'mean':
        hkt(weights=dict(native=1 / 3, inherited=1 / 3, parent_head=1 / 3)),
        'weights-half':
        hkt(weights=dict(inherited=0.5, parent_head=0.5)),
        # Chance.
        'drop-0.5':
        hkt(attention=dict(drop=0.5)),
        'random-intensity':
        hkt(attention=dict(intensity=1.0, random_intensity=True)),
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
        'hkt-middle+fitnet': [hkt(sites='middle'), 'mmhkt.FitNet'],
        'at':
        'mmhkt.AT',
        'hkt+at': [hkt(), 'mmhkt.AT'],
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
