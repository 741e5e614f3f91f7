# Accuracy against the length of training, until the child alone is flat, on
# all of CIFAR-10, with a parent of others, which has seen the same images.
# `parent.cache` spares the parent from the second epoch on: an image has two
# views.
_base_ = [
    '../alone/resnet8_30e_cifar10.py',
    '../_base_/parents/resnet20_published_cifar10.py',
    '../_base_/comparisons/ladder.py'
]

comparison = dict(budgets=['3 epochs', '15 epochs', '30 epochs'])
