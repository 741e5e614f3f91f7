# the child alone, under the same conditions as with a method
runner_type = 'mmhkt.InheritanceRunner'
method = dict(type='mmhkt.Alone')
