_base_ = ['./_base.py', '../../_base_/recipes/sgd-0.2-one-cycle.py']

param_scheduler = dict(total_steps=400)
