# One cycle up and down; its length a config that uses it says.
optim_wrapper = dict(
    optimizer=dict(
        type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4, nesterov=True))
param_scheduler = dict(type='OneCycleLR', eta_max=0.2, by_epoch=False)
