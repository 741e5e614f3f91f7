_base_ = [
    '../_base_/models/vit-d4-w64_digits.py', '../_base_/datasets/digits.py',
    '../_base_/schedules/digits.py', '../_base_/methods/alone.py',
    '../_base_/default_runtime.py'
]

# A transformer learns by small steps, and from more views.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.05))
train_cfg = dict(max_epochs=100, val_interval=10)
