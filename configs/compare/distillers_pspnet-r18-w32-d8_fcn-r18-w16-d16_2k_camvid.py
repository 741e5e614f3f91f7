# Methods side by side in segmentation, on CamVid at 240x180.
_base_ = [
    '../alone/fcn-r18-w16-d16_2k_camvid.py',
    '../_base_/parents/pspnet-r18-w32-d8_camvid.py'
]

comparison = dict(
    methods=[
        'mmhkt.Alone', 'mmhkt.KD', 'mmhkt.CWD', 'mmhkt.GatedHKT', 'mmhkt.HKT'
    ],
    metric='mIoU',
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000])
