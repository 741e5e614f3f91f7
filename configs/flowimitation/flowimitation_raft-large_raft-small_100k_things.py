_base_ = '../alone/raft-small_100k_things.py'

parent = dict(
    config='mmhkt::alone/raft-large_100k_things.py',
    checkpoint='work_dirs/raft-large_100k_things/child.pth')
method = dict(type='mmhkt.FlowImitation')
