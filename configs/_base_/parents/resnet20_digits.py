parent = dict(
    config='mmhkt::alone/resnet20_digits.py',
    checkpoint='work_dirs/resnet20_digits/child.pth')
