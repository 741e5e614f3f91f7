_base_ = [
    '../_base_/models/raft-reduced-small.py',
    '../_base_/datasets/flow_synthetic.py',
    '../_base_/schedules/raft_synthetic.py', '../_base_/methods/alone.py',
    '../_base_/flow_runtime.py'
]

default_hooks = dict(checkpoint=dict(interval=100, max_keep_ckpts=2))
