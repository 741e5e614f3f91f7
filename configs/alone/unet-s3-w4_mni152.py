_base_ = [
    '../_base_/models/unet-s3-w4_mni152.py', '../_base_/datasets/mni152.py',
    '../_base_/schedules/mni152.py', '../_base_/methods/alone.py',
    'mmseg::_base_/default_runtime.py'
]
