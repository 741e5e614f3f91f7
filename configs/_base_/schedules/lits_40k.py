# 40,000 iterations
_base_ = 'mmseg::_base_/schedules/schedule_40k.py'

default_hooks = dict(checkpoint=dict(max_keep_ckpts=2, save_best='mDice'))
randomness = dict(seed=0)
