_base_ = [
    '../_base_/models/raft-reduced-large.py',
    '../_base_/datasets/flow_synthetic_pairs.py',
    '../_base_/schedules/raft_synthetic.py', '../_base_/methods/alone.py',
    '../_base_/flow_runtime.py'
]

optim_wrapper = dict(optimizer=dict(lr=4e-4))
param_scheduler = dict(eta_max=4e-4, total_steps=800)
train_cfg = dict(max_iters=800)
