# The ladder of CIFAR-10 with a child half as wide, whose 30 epochs take half
# an hour of one CPU core; the rate is the best of 0.1 to 0.8 for it too.
_base_ = [
    '../alone/resnet8-w8_30e_cifar10.py',
    '../_base_/parents/resnet20_published_cifar10.py',
    '../_base_/comparisons/ladder.py'
]

parent = dict(memory_format='channels_last')
comparison = dict(budgets=['3 epochs', '15 epochs', '30 epochs'])
