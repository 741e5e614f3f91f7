_base_ = [
    '../alone/resnet8-narrow_digits.py', '../_base_/parents/resnet20_digits.py'
]

# The weight of 1000 belongs to maps of 16 times as many positions.
method = dict(type='mmhkt.AT', weights=dict(distillation=60.0))
