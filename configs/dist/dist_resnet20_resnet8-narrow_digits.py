_base_ = [
    '../alone/resnet8-narrow_digits.py', '../_base_/parents/resnet20_digits.py'
]

# T = 4, for 100 classes, overwhelms so small a child.
method = dict(type='mmhkt.DIST', temperature=1.0)
