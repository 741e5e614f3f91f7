# 100 labelled digits with a parent of other widths, which has seen all.
_base_ = './inheritance_resnet20_resnet8_few_digits.py'

parent = dict(_delete_=True, config='mmhkt::alone/wrn16-2_digits.py')
