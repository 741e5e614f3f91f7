_base_ = [
    '../alone/raft-reduced-small_synthetic.py',
    '../_base_/parents/raft-reduced-large_synthetic.py'
]

method = dict(type='mmhkt.GatedHKT')
