# model settings
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmhkt.CIFARResNet',
        depth=32,
        widths=(32, 64, 128, 256),
        shortcut='B'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=256,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, ),
    ))
