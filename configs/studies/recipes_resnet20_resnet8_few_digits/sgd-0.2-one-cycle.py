# One cycle up and down.
_base_ = './_base.py'

optim_wrapper = dict(
    _delete_=True,
    optimizer=dict(
        type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4, nesterov=True))
param_scheduler = dict(
    _delete_=True,
    type='OneCycleLR',
    eta_max=0.2,
    total_steps=400,
    by_epoch=False)
