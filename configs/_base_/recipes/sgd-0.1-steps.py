# The zoo's own for CIFAR-10: no warm-up, no clipping, two steps.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4))
# where the steps are, a config that uses it says
param_scheduler = dict(type='MultiStepLR', gamma=0.1)
