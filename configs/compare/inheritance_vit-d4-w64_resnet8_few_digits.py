# 100 labelled digits with a transformer for a parent, which has seen all.
_base_ = '../alone/resnet8_few_digits.py'

parent = dict(config='mmhkt::alone/vit-d4-w64_digits.py')
comparison = dict(
    methods=[
        'mmhkt.Alone', 'mmhkt.KD', 'mmhkt.DKD', 'mmhkt.FitNet', 'mmhkt.HKT'
    ],
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000, 3000, 4000],
    train_parent=True)
