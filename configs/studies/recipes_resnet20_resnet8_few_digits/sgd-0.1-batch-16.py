# Small batches.
_base_ = './_base.py'

optim_wrapper = dict(
    _delete_=True,
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))

train_dataloader = dict(batch_size=16)
