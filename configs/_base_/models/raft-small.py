# model settings
model = dict(type='mmhkt.RAFT', size='small', iters_train=12, iters_test=32)
