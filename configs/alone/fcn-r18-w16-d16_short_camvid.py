_base_ = [
    '../_base_/models/fcn-r18-w16-d16_camvid.py',
    '../_base_/datasets/camvid.py', '../_base_/schedules/camvid_short.py',
    '../_base_/methods/alone.py', 'mmseg::_base_/default_runtime.py'
]
