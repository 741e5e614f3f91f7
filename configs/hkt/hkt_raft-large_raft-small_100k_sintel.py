_base_ = '../alone/raft-small_100k_sintel.py'

parent = dict(
    config='mmhkt::alone/raft-large_100k_sintel.py',
    checkpoint='work_dirs/raft-large_100k_sintel/child.pth')
method = dict(type='mmhkt.HKT')
