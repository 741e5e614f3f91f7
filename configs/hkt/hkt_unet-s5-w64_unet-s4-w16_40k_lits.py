_base_ = '../alone/unet-s4-w16_40k_lits.py'

parent = dict(
    config='mmhkt::alone/unet-s5-w64_40k_lits.py',
    checkpoint='work_dirs/unet-s5-w64_40k_lits/child.pth')
method = dict(type='mmhkt.HKT')
