_base_ = [
    '../_base_/models/raft-small.py', '../_base_/datasets/flow_things.py',
    '../_base_/schedules/raft_things.py', '../_base_/methods/alone.py',
    '../_base_/flow_runtime.py'
]

load_from = 'work_dirs/raft-small_100k_chairs/child.pth'
