_base_ = [
    '../alone/unet-s3-w4_mni152.py', '../_base_/parents/unet-s4-w16_mni152.py'
]

method = dict(type='mmhkt.GatedHKT')
