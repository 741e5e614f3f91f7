# The ground of inheritance_resnet20_resnet8_few_digits.py without its recipe.
_base_ = [
    '../../_base_/models/resnet8_cifar.py', '../../_base_/datasets/digits.py',
    '../../_base_/parents/resnet20_digits.py', '../../_base_/methods/alone.py',
    '../../_base_/default_runtime.py'
]

train_dataloader = dict(batch_size=50, dataset=dict(indices=100))
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=20)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=20))
comparison = dict(
    methods=['mmhkt.Alone', 'mmhkt.HKT'],
    seeds=[0, 1000, 2000],
    train_parent=True)
