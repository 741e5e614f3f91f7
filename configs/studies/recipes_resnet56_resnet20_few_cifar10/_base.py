# The ground of distillers_resnet56_resnet20_few_cifar10.py without its recipe.
_base_ = [
    '../../_base_/models/resnet20_cifar.py',
    '../../_base_/datasets/cifar10_npz.py',
    '../../_base_/parents/resnet56_published_cifar10.py',
    '../../_base_/methods/alone.py', '../../_base_/default_runtime.py'
]

# the first 5,000 images
train_dataloader = dict(batch_size=64, dataset=dict(indices=5000))
train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=6)
val_cfg = dict()
test_cfg = dict()
comparison = dict(methods=['mmhkt.Alone', 'mmhkt.HKT'], seeds=[0, 1000, 2000])
