_base_ = ['./_base.py', '../../_base_/recipes/sgd-0.1-cosine.py']
