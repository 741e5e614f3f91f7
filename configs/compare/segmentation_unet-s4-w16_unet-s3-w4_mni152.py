# What `make demo-seg` runs: minutes on a CPU, nothing to download but
# packages.
_base_ = [
    '../alone/unet-s3-w4_mni152.py', '../_base_/parents/unet-s4-w16_mni152.py'
]

comparison = dict(
    methods=[
        'mmhkt.Alone', 'mmhkt.KD', 'mmhkt.CWD', 'mmhkt.GatedHKT', 'mmhkt.HKT'
    ],
    # Far apart: the sampler shuffles by the sum of seed and epoch.
    seeds=[0, 1000],
    metric='mIoU',
    train_parent=True)
