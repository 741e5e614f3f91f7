_base_ = [
    '../_base_/models/raft-large.py', '../_base_/datasets/flow_things.py',
    '../_base_/schedules/raft_things.py', '../_base_/methods/alone.py',
    '../_base_/flow_runtime.py'
]

model = dict(norm_eval=True)
load_from = 'work_dirs/raft-large_100k_chairs/child.pth'
