# Ways to inherit in optical flow, on rendered pairs: nothing to download.
_base_ = [
    '../alone/raft-reduced-small_synthetic.py',
    '../_base_/parents/raft-reduced-large_synthetic.py'
]

comparison = dict(
    methods={
        'alone': 'mmhkt.Alone',
        'FlowImitation': 'mmhkt.FlowImitation',
        'FitNet': 'mmhkt.FitNet',
        'AT': 'mmhkt.AT',
        'LePoKet': 'mmhkt.LePoKet',
        '2GatedHKT': dict(type='mmhkt.GatedHKT', sites='2hkt'),
        '3GatedHKT': dict(type='mmhkt.GatedHKT', sites='3hkt'),
        'HKT': 'mmhkt.HKT',
    },
    metric='EPE',
    rule='less',
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
