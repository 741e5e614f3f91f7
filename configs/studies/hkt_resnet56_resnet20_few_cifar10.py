# What makes HKT's default work, on the images of the study of the gate.
_base_ = './gate_resnet56_resnet20_few_cifar10.py'


def hkt(**settings):
    return dict(type='mmhkt.HKT', **settings)


def weaned(end, hints=None, **settings):
    """With an end of its own for the mixture, and one for the hints."""
    schedule = [dict(knob='intensity', end=end)]
    if hints is not None:
        schedule.append(dict(knob='weights.hint', end=hints))
    return hkt(schedule=schedule, **settings)


def before(**settings):
    """The former default: hints to the end and nothing else."""
    weights = dict(logits=0, **settings.pop('weights', {}))
    return weaned(0.7, weights=weights, bound=0, **settings)


def dkd():
    return dict(type='mmhkt.DKD', weights=dict(nontarget=2.0))


comparison = dict(
    _delete_=True,
    methods={
        'alone':
        'mmhkt.Alone',
        'hkt':
        hkt(),
        # Each of its parts left out.
        'untaught':
        hkt(weights=dict(logits=0)),
        'unbounded':
        hkt(bound=0),
        'taught-only':
        hkt(weights=dict(hint=0), attention=dict(intensity=0.0)),
        # How long the child is raised.
        'raised-30':
        weaned(0.3, 0.3),
        'raised-70':
        weaned(0.7, 0.7),
        'hinted-to-the-end':
        weaned(0.7),
        # The former default, and its parts.
        'before':
        before(),
        'weight-10':
        before(weights=dict(hint=10)),
        'weight-30':
        before(weights=dict(hint=30)),
        'weight-300':
        before(weights=dict(hint=300)),
        'native':
        before(weights=dict(native=1)),
        # The mixture half of each, all the time; the child needs a native
        # loss then.
        'half':
        hkt(attention=dict(intensity=0.5),
            schedule=[],
            bound=0,
            weights=dict(native=1, logits=0)),
        # The same errors of the child's own features: nothing is mixed.
        'unmixed':
        hkt(attention=dict(intensity=0.0),
            schedule=[],
            bound=0,
            weights=dict(logits=0)),
        # The mixture alone: there are no hints.
        'unhinted':
        before(weights=dict(hint=0)),
        # Hints as FitNet has them, with a regressor, at one stage and at all.
        'fitnet':
        'mmhkt.FitNet',
        'fitnet-stages':
        dict(type='mmhkt.FitNet', sites='stages'),
        # With a distiller, of the mixture's logits or of the child's own.
        'dkd':
        dkd(),
        'hkt+dkd': [before(), dkd()],
        'dkd+hkt': [dkd(), before()],
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
