# Small batches.
_base_ = ['./_base.py', '../../_base_/recipes/sgd-0.1-cosine.py']

train_dataloader = dict(batch_size=16)
