_base_ = './hkt_raft-large_raft-small_100k_sintel.py'

method = dict(sites='3hkt')
