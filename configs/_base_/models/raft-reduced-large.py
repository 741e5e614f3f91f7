# model settings: differs from raft-reduced-small in what raft-large differs in
# from raft-small; 1.5 million parameters, for images from 32x32 pixels on
model = dict(
    type='mmhkt.RAFT',
    size=dict(
        feature_encoder_layers=(32, 32, 48, 64, 128),
        feature_encoder_block='ResidualBlock',
        feature_encoder_norm_layer='InstanceNorm2d',
        context_encoder_layers=(32, 32, 48, 64, 128),
        context_encoder_block='ResidualBlock',
        context_encoder_norm_layer='BatchNorm2d',
        corr_block_num_levels=2,
        corr_block_radius=4,
        motion_encoder_corr_layers=(96, 64),
        motion_encoder_flow_layers=(64, 32),
        motion_encoder_out_channels=80,
        recurrent_block_hidden_state_size=64,
        recurrent_block_kernel_size=((1, 5), (5, 1)),
        recurrent_block_padding=((0, 2), (2, 0)),
        flow_head_hidden_size=128,
        use_mask_predictor=True),
    iters_train=4,
    iters_test=4)
