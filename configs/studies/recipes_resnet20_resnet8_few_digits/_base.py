_base_ = '../../compare/inheritance_resnet20_resnet8_few_digits.py'

comparison = dict(
    _delete_=True,
    methods=['mmhkt.Alone', 'mmhkt.HKT'],
    seeds=[0, 1000, 2000],
    train_parent=True)
