_base_ = [
    '../_base_/models/raft-reduced-large.py',
    '../_base_/datasets/flow_synthetic_pairs.py',
    '../_base_/schedules/raft_synthetic.py', '../_base_/methods/alone.py',
    '../_base_/flow_runtime.py'
]

# A parent may take its time.
param_scheduler = dict(total_steps=800)
train_cfg = dict(max_iters=800)
default_hooks = dict(checkpoint=dict(interval=100, max_keep_ckpts=2))
