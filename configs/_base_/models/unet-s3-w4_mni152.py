_base_ = './unet-s4-w16_mni152.py'

model = dict(
    backbone=dict(
        base_channels=4,
        num_stages=3,
        strides=(1, 1, 1),
        enc_num_convs=(2, 2, 2),
        dec_num_convs=(2, 2),
        downsamples=(True, True),
        enc_dilations=(1, 1, 1),
        dec_dilations=(1, 1)),
    decode_head=dict(in_channels=4, in_index=2, channels=4))
