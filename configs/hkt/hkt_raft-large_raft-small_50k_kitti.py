_base_ = '../alone/raft-small_50k_kitti.py'

parent = dict(
    config='mmhkt::alone/raft-large_50k_kitti.py',
    checkpoint='work_dirs/raft-large_50k_kitti/child.pth')
method = dict(type='mmhkt.HKT')
