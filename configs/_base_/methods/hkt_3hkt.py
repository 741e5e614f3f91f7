# HKT on optical flow at the encoders' outputs and, in each update, the hidden
# state.
runner_type = 'mmhkt.InheritanceRunner'
method = dict(type='mmhkt.HKT', sites='3hkt')
