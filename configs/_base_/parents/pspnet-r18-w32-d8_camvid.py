parent = dict(
    config='mmhkt::alone/pspnet-r18-w32-d8_2k_camvid.py',
    checkpoint='work_dirs/pspnet-r18-w32-d8_2k_camvid/child.pth')
