_base_ = [
    '../_base_/models/pspnet-r18-w32-d8_camvid.py',
    '../_base_/datasets/camvid.py', '../_base_/schedules/camvid_2k.py',
    '../_base_/methods/alone.py', 'mmseg::_base_/default_runtime.py'
]
