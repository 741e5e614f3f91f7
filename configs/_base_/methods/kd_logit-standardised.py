# KD of standardised logits, https://arxiv.org/abs/2403.01427
runner_type = 'mmhkt.InheritanceRunner'
method = dict(
    type='mmhkt.KD',
    standardise=True,
    temperature=2.0,
    weights=dict(distillation=9.0))
