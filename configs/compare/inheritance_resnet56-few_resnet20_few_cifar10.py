# With a parent that has seen the same 5,000 images of CIFAR-10 as its child,
# and no others.
_base_ = '../alone/resnet20_few_cifar10.py'

parent = dict(config='mmhkt::alone/resnet56_few-24e_cifar10.py')
comparison = dict(
    methods=[
        'mmhkt.Alone', 'mmhkt.KD', 'mmhkt.FitNet', 'mmhkt.GatedHKT',
        'mmhkt.HKT'
    ],
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000],
    train_parent=True)
