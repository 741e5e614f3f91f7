# LePoKet as its paper has it: the mixture's loss alone, with the parent's
# feature in it to the end. A child trained like this leans on its parent, see
# configs/lepoket/README.md.
runner_type = 'mmhkt.InheritanceRunner'
method = dict(type='mmhkt.LePoKet', as_published=True)
