_base_ = [
    '../alone/resnet8_few_digits.py', '../_base_/parents/resnet20_digits.py'
]

method = dict(type='mmhkt.HKT')
