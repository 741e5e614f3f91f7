# Half the zoo's rate, the decay of the distillers.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4))
# where the steps are, a config that uses it says
param_scheduler = dict(type='MultiStepLR', gamma=0.1)
