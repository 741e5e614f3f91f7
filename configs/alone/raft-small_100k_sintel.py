_base_ = [
    '../_base_/models/raft-small.py', '../_base_/datasets/flow_sintel.py',
    '../_base_/schedules/raft_sintel.py', '../_base_/methods/alone.py',
    '../_base_/flow_runtime.py'
]

model = dict(criterion=dict(gamma=0.85))
load_from = 'work_dirs/raft-small_100k_things/child.pth'
