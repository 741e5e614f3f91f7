_base_ = [
    '../alone/fcn-r18-w16-d16_2k_camvid.py',
    '../_base_/parents/pspnet-r18-w32-d8_camvid.py'
]

method = dict(type='mmhkt.HKT')
