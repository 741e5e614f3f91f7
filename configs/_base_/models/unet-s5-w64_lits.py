# U-Net with 5 stages, the first of 64 channels, for windowed slices of one
# channel (2.5-D input: set model.backbone.in_channels)
norm_cfg = dict(type='SyncBN', requires_grad=True)
loss_decode = [
    # unweighted, tumours are taken for background for hundreds of iterations
    dict(
        type='CrossEntropyLoss',
        loss_name='loss_ce',
        class_weight=[1.0, 1.0, 4.0]),
    dict(type='DiceLoss', loss_name='loss_dice', use_sigmoid=False)
]
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        # the window from -1 to 1; what is padded is as dark as air
        mean=[127.5],
        std=[127.5],
        pad_val=-1,
        seg_pad_val=255,
        size=(320, 320),
        test_cfg=dict(size_divisor=16)),
    backbone=dict(
        type='UNet',
        in_channels=1,
        base_channels=64,
        num_stages=5,
        strides=(1, 1, 1, 1, 1),
        enc_num_convs=(2, 2, 2, 2, 2),
        dec_num_convs=(2, 2, 2, 2),
        downsamples=(True, True, True, True),
        enc_dilations=(1, 1, 1, 1, 1),
        dec_dilations=(1, 1, 1, 1),
        norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead',
        in_channels=64,
        in_index=4,
        channels=64,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=3,
        norm_cfg=norm_cfg,
        loss_decode=loss_decode),
    test_cfg=dict(mode='whole'))
