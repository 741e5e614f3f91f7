_base_ = './hkt_raft-large_raft-small_100k_things.py'

method = dict(sites='3hkt')
