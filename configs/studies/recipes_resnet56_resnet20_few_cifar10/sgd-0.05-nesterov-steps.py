_base_ = ['./_base.py', '../../_base_/recipes/sgd-0.05-nesterov-steps.py']

param_scheduler = dict(milestones=[6, 9])
