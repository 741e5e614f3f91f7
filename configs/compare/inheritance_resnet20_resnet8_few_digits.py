# What `make demo` runs (without FitNet, to take less than 10 minutes on two
# cores), nothing to download: a small network for which there are 100 labelled
# images, and a parent that has seen all of them, as a network trained on more
# than one may keep.
_base_ = [
    '../alone/resnet8_few_digits.py', '../_base_/parents/resnet20_digits.py'
]

comparison = dict(
    methods=[
        'mmhkt.Alone', 'mmhkt.KD', 'mmhkt.DKD', 'mmhkt.FitNet', 'mmhkt.HKT'
    ],
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000, 3000, 4000],
    train_parent=True)
