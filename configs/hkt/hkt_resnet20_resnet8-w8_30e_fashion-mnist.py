_base_ = [
    '../alone/resnet8-w8_30e_fashion-mnist.py',
    '../_base_/parents/resnet20_10e_fashion-mnist.py'
]

method = dict(type='mmhkt.HKT')
