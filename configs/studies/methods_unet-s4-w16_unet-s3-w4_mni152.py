# Methods on the embedded segmentation set, with seeds enough for an interval.
_base_ = [
    '../alone/unet-s3-w4_mni152.py', '../_base_/parents/unet-s4-w16_mni152.py'
]

comparison = dict(
    methods=[
        'mmhkt.Alone',
        'mmhkt.KD',
        'mmhkt.DIST',
        'mmhkt.CWD',
        'mmhkt.AT',
        'mmhkt.SP',
        'mmhkt.FitNet',
        'mmhkt.MGD',
        'mmhkt.LePoKet',
        'mmhkt.GatedHKT',
        ['mmhkt.GatedHKT', 'mmhkt.CWD'],
        'mmhkt.HKT',
    ],
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000, 2000, 3000, 4000],
    metric='mIoU',
    train_parent=True)
