# Copyright (c) mmhkt authors. All rights reserved.
from mmhkt.registry import METHODS
from .hkt import HKT


@METHODS.register_module()
class GatedHKT(HKT):
    """HKT as near to its paper as does no harm.

    The paper's classification experiment, a gate at the feature that the
    heads are given, but in two points. No gradient flows through the gate's
    coefficient: with it the child opens the gate and leaves the work to its
    parent. And the weights add up to 1, so that steps are as large as those
    of the child alone and a learning rate that suits it still does: the
    paper's sum of three losses acts, with SGD, like up to three times the
    rate.

    Args:
        sites, attention, scale, judged, weights, schedule, bound: As in
            :class:`mmhkt.methods.HKT`; the default site is ``'head'``, the
            attention ``dict(mode='gate')``, the weights 1/3 for ``native``,
            ``inherited`` and ``parent_head`` and 0 for ``hint``, and nothing
            is scheduled or bounded.
        as_published (bool): As in :class:`mmhkt.methods.HKT`.
    """

    default_sites = 'head'
    default_attention = dict(mode='gate')
    default_weights = dict(
        native=1 / 3, inherited=1 / 3, parent_head=1 / 3, hint=0.0, logits=0.0)
    default_schedule = ()
    default_bound = 0.0
