# 100 labelled digits with a transformer for a parent, which has seen all.
_base_ = './inheritance_resnet20_resnet8_few_digits.py'

parent = dict(_delete_=True, config='mmhkt::alone/vit-d4-w64_digits.py')
