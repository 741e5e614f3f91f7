# A parent for children that are trained on the same images for 100 epochs: as
# long as they are, since one of 24 epochs would end below them.
_base_ = './resnet56_few-24e_cifar10.py'

train_cfg = dict(max_epochs=100, val_interval=10)
param_scheduler = dict(total_steps=7900)
