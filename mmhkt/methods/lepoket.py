# Copyright (c) mmhkt authors. All rights reserved.
from mmhkt.registry import METHODS
from .hkt import HKT


@METHODS.register_module()
class LePoKet(HKT):
    r"""LePoKet: knowledge transfer with learnable Genetic Attention.

    From `arXiv 2609.16637 <https://arxiv.org/abs/2609.16637>`_. The paper
    trains on the mixture's loss :math:`L_{c*}(m)` alone. A child trained
    that way does not work without its parent, so that by default the native
    loss is added and the intensity falls to 0 over the first 70 % of the
    training. ``as_published=True`` restores the paper's setting.

    Args:
        sites, attention, scale, judged, weights, schedule, bound: As in
            :class:`mmhkt.methods.HKT`; the attention's default is
            ``dict(mode='learnable')``, the weights' 1/2 for ``native`` and
            ``inherited`` and 0 for the others, the site's ``'head'``;
            nothing is bounded.
        as_published (bool): Whether what is left open is the paper's.
    """

    default_sites = 'head'
    default_weights = dict(
        native=0.5, inherited=0.5, parent_head=0.0, hint=0.0, logits=0.0)
    default_attention = dict(mode='learnable')
    default_schedule = (dict(
        knob='intensity', rule='linear', start=1.0, stop=0.0, end=0.7), )
    default_bound = 0.0
    published = dict(
        sites='head',
        attention=dict(mode='learnable', gate_gradient=True),
        weights=dict(
            native=0.0, inherited=1.0, parent_head=0.0, hint=0.0, logits=0.0),
        schedule=(),
        bound=0.0)
