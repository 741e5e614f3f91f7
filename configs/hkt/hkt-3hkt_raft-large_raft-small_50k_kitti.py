_base_ = './hkt_raft-large_raft-small_50k_kitti.py'

method = dict(sites='3hkt')
