# The same parent's and child's 5,000 images of CIFAR-10, both for 100 epochs.
_base_ = './inheritance_resnet56-few_resnet20_few_cifar10.py'

parent = dict(config='mmhkt::alone/resnet56_few-100e_cifar10.py')
comparison = dict(budgets=['100 epochs'])
