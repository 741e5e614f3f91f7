# Where the child cannot make its parent's features: minutes on a CPU, nothing
# to download.
_base_ = [
    '../alone/resnet8-narrow_digits.py', '../_base_/parents/resnet20_digits.py'
]

comparison = dict(
    methods=[
        'mmhkt.Alone', 'mmhkt.KD', 'mmhkt.FitNet', 'mmhkt.DKD',
        'mmhkt.LePoKet', 'mmhkt.GatedHKT', 'mmhkt.HKT'
    ],
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000, 3000, 4000],
    train_parent=True)
