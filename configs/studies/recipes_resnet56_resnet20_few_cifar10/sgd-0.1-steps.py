_base_ = ['./_base.py', '../../_base_/recipes/sgd-0.1-steps.py']

param_scheduler = dict(milestones=[6, 9])
