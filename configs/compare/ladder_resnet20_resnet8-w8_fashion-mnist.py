# Accuracy against the length of training, until the child alone is flat, on
# all of Fashion-MNIST, with a parent that is trained on the same images.
_base_ = '../alone/resnet8-w8_30e_fashion-mnist.py'

parent = dict(
    config='mmhkt::alone/resnet20_10e_fashion-mnist.py',
    memory_format='channels_last')
comparison = dict(
    methods={
        'Alone': 'mmhkt.Alone',
        'KD': 'mmhkt.KD',
        'DKD': dict(type='mmhkt.DKD', weights=dict(nontarget=2.0)),
        'ReviewKD':
        dict(type='mmhkt.ReviewKD', weights=dict(distillation=0.6)),
        'FitNet-stages': dict(type='mmhkt.FitNet', sites='stages'),
        'HKT': 'mmhkt.HKT',
    },
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000],
    budgets=['1 epochs', '3 epochs', '10 epochs', '30 epochs'],
    train_parent=True)
