# Copyright (c) mmhkt authors. All rights reserved.
import pytest
from method_helpers import losses_of, stages_model

from mmhkt.methods import LePoKet
from mmhkt.registry import METHODS


def test_defaults():
    method = METHODS.build(dict(type='mmhkt.LePoKet'))
    assert type(method) is LePoKet and method.name == 'lepoket'
    assert method.weights == dict(
        native=0.5, inherited=0.5, parent_head=0, hint=0, logits=0)
    assert method.sites_wanted == 'head'
    assert method.schedule == [
        dict(knob='intensity', rule='linear', start=1., stop=0., end=0.7)
    ]
    model = stages_model(method)
    attention = method.mixtures[0].attention
    assert attention.mode == 'learnable' and attention.select == 'affinity'
    assert not attention.gate_gradient
    losses = losses_of(model)
    assert [n for n in losses
            if 'loss' in n] == ['native.loss', 'lepoket.inherited.loss']
    losses['lepoket.inherited.loss'].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
    assert 'intensity.neck' in method.statistics()


def test_as_the_paper_has_it():
    method = LePoKet(as_published=True, attention=dict(intensity=0.3))
    model = stages_model(method)
    assert method.schedule == []
    assert [n for n in losses_of(model)
            if 'loss' in n] == ['lepoket.inherited.loss']
    attention = method.mixtures[0].attention
    assert attention.mode == 'learnable' and attention.gate_gradient
    assert attention.intensity.item() == pytest.approx(0.3)
    # an own default is not changed by another's
    assert LePoKet().weights['native'] == 0.5 and LePoKet().schedule
