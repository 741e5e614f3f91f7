# Ways to inherit in segmentation: 600 iterations of CamVid, on a CPU.
_base_ = [
    '../alone/fcn-r18-w16-d16_short_camvid.py',
    '../_base_/parents/pspnet-r18-w32-d8_camvid.py'
]

comparison = dict(
    methods={
        'Alone': 'mmhkt.Alone',
        'CWD': 'mmhkt.CWD',
        'GatedHKT': 'mmhkt.GatedHKT',
        'HKT': 'mmhkt.HKT',
    },
    metric='mIoU',
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000])
