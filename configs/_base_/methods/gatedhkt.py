runner_type = 'mmhkt.InheritanceRunner'
method = dict(type='mmhkt.GatedHKT')
