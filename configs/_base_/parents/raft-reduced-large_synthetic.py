parent = dict(
    config='mmhkt::alone/raft-reduced-large_synthetic.py',
    checkpoint='work_dirs/raft-reduced-large_synthetic/child.pth')
