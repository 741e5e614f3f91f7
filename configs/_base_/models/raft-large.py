# model settings
model = dict(type='mmhkt.RAFT', size='large', iters_train=12, iters_test=32)
