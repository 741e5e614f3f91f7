# Mixed precision.
_base_ = ['./_base.py', '../../_base_/recipes/sgd-0.1-cosine.py']

optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16')
