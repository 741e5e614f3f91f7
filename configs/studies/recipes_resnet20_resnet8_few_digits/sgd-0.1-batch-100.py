# All images in one batch: 200 steps.
_base_ = ['./_base.py', '../../_base_/recipes/sgd-0.1-cosine.py']

train_dataloader = dict(batch_size=100)
