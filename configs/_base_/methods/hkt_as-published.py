# HKT as its paper has it: the gradient passes through the gate's coefficient.
# A child trained like this leans on its parent, see configs/hkt/README.md.
runner_type = 'mmhkt.InheritanceRunner'
method = dict(type='mmhkt.HKT', as_published=True)
