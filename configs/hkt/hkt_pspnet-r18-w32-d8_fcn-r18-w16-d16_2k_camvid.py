_base_ = '../alone/fcn-r18-w16-d16_2k_camvid.py'

parent = dict(
    config='mmhkt::alone/pspnet-r18-w32-d8_2k_camvid.py',
    checkpoint='work_dirs/pspnet-r18-w32-d8_2k_camvid/child.pth')
method = dict(type='mmhkt.HKT')
