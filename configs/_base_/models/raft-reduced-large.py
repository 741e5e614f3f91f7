# model settings: raft-reduced-small with twice the widths, 1,098,992
# parameters, for images from 32x32 pixels on
model = dict(
    type='mmhkt.RAFT',
    size=dict(
        feature_encoder_layers=(32, 32, 48, 64, 128),
        feature_encoder_block='ResidualBlock',
        feature_encoder_norm_layer='InstanceNorm2d',
        context_encoder_layers=(32, 32, 48, 64, 128),
        context_encoder_block='ResidualBlock',
        context_encoder_norm_layer=None,
        corr_block_num_levels=2,
        corr_block_radius=3,
        motion_encoder_corr_layers=(96, ),
        motion_encoder_flow_layers=(64, 32),
        motion_encoder_out_channels=80,
        recurrent_block_hidden_state_size=64,
        recurrent_block_kernel_size=(3, ),
        recurrent_block_padding=(1, ),
        flow_head_hidden_size=128,
        use_mask_predictor=False),
    iters_train=4,
    iters_test=4)
