# The zoo's own for CIFAR-10: no warm-up, no clipping, two steps.
_base_ = './_base.py'

optim_wrapper = dict(
    _delete_=True,
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = dict(
    _delete_=True, type='MultiStepLR', milestones=[100, 150], gamma=0.1)
