# Accuracy against the length of training, until the child alone is flat, on
# all of Fashion-MNIST, with a parent that is trained on the same images.
_base_ = [
    '../alone/resnet8-w8_30e_fashion-mnist.py',
    '../_base_/comparisons/ladder.py'
]

parent = dict(
    config='mmhkt::alone/resnet20_10e_fashion-mnist.py',
    memory_format='channels_last')
comparison = dict(
    budgets=['1 epochs', '3 epochs', '10 epochs', '30 epochs'],
    train_parent=True)
