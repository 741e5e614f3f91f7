# As distillers are trained.
_base_ = './_base.py'

optim_wrapper = dict(
    _delete_=True,
    optimizer=dict(
        type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True))
param_scheduler = dict(
    _delete_=True, type='MultiStepLR', milestones=[100, 150], gamma=0.1)
