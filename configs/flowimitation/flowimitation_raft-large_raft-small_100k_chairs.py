_base_ = '../alone/raft-small_100k_chairs.py'

parent = dict(
    config='mmhkt::alone/raft-large_100k_chairs.py',
    checkpoint='work_dirs/raft-large_100k_chairs/child.pth')
method = dict(type='mmhkt.FlowImitation')
