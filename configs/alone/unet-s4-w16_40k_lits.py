_base_ = [
    '../_base_/models/unet-s4-w16_lits.py', '../_base_/datasets/lits.py',
    '../_base_/schedules/lits_40k.py', '../_base_/methods/alone.py',
    'mmseg::_base_/default_runtime.py'
]
