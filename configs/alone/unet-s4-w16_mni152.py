_base_ = [
    '../_base_/models/unet-s4-w16_mni152.py', '../_base_/datasets/mni152.py',
    '../_base_/schedules/mni152.py', '../_base_/methods/alone.py',
    'mmseg::_base_/default_runtime.py'
]
