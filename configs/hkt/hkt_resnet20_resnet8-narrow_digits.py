_base_ = '../alone/resnet8-narrow_digits.py'

parent = dict(
    config='mmhkt::alone/resnet20_digits.py',
    checkpoint='work_dirs/resnet20_digits/child.pth')
method = dict(type='mmhkt.HKT')
