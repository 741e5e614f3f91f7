_base_ = [
    '../alone/resnet8-narrow_digits.py', '../_base_/parents/resnet20_digits.py'
]

method = dict(type='mmhkt.GatedHKT')
