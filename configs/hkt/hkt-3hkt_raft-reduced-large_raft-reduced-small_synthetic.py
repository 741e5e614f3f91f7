_base_ = './hkt_raft-reduced-large_raft-reduced-small_synthetic.py'

method = dict(sites='3hkt')
