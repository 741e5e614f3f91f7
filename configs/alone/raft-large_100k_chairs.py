_base_ = [
    '../_base_/models/raft-large.py', '../_base_/datasets/flow_chairs.py',
    '../_base_/schedules/raft_chairs.py', '../_base_/methods/alone.py',
    '../_base_/flow_runtime.py'
]

model = dict(iters_test=24)
