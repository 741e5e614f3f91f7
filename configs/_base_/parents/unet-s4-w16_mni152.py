parent = dict(
    config='mmhkt::alone/unet-s4-w16_mni152.py',
    checkpoint='work_dirs/unet-s4-w16_mni152/child.pth')
