# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_helpers import (IMAGES, LABELS, RUNS, classifier, inherit,
                            losses_of, ran, samples, stages_model)

from mmhkt.methods import HKT, GatedHKT, Step
from mmhkt.registry import METHODS

TERMS = ('native', 'inherited', 'parent_head')
ONES = dict.fromkeys(TERMS, 1)

# ------------------------------------------------------------ golden values


@pytest.fixture
def golden(shared_data):
    with np.load(shared_data / 'golden' / 'genetic_attention.npz') as data:
        return {name: torch.from_numpy(data[name]) for name in data}


def pooled_model(method, q, v, heads):
    """Both heads on features that are what they are given."""
    classes, channels = heads[0][0].shape
    through = dict(type='mmhkt.Through')
    model = inherit(
        classifier(through, channels, classes),
        classifier(dict(through, feature=v.tolist()), channels, classes),
        [method], q.float())
    model.double()
    model.parent.network.backbone.feature = v
    for network, (weight, bias) in zip((model.child, model.parent.network),
                                       heads):
        network.head.fc.weight.data.copy_(weight)
        network.head.fc.bias.data.copy_(bias)
    return model


def golden_heads(golden):
    return [(golden[f'{role}_head_weight'], golden[f'{role}_head_bias'])
            for role in ('child', 'parent')]


def test_golden_losses_and_gradient(golden):
    method = HKT(as_published=True)
    model = pooled_model(method, golden['q'], golden['v'],
                         golden_heads(golden))
    q = golden['q'].clone().requires_grad_()
    with model.tapped():
        losses = model(q, samples(golden['y']), mode='loss')
    found = {name: losses[name] for name in losses if 'loss' in name}
    expected = {
        'native.loss': 2.1407481,
        'hkt.inherited.loss': 2.0698034,
        'hkt.parent_head.loss': 2.4119342
    }
    assert set(found) == set(expected)
    for term in TERMS:
        name = [name for name in found if term in name][0]
        assert found[name].dtype == torch.float64
        assert found[name].item() == pytest.approx(
            golden[f'loss_{term}'].item(), abs=1e-6)
        assert found[name].item() == pytest.approx(expected[name], abs=1e-6)
    sum(found.values()).backward()
    assert torch.allclose(q.grad, golden['grad_q_total'], rtol=0, atol=1e-6)


def test_golden_losses_but_another_gradient_by_default(golden):
    """The gate's own gradient is what is left out, nothing else."""
    model = pooled_model(
        GatedHKT(weights=ONES), golden['q'], golden['v'], golden_heads(golden))
    q = golden['q'].clone().requires_grad_()
    with model.tapped():
        losses = model(q, samples(golden['y']), mode='loss')
    total = sum(value for name, value in losses.items() if 'loss' in name)
    expected = sum(golden[f'loss_{term}'] for term in TERMS)
    assert total.item() == pytest.approx(expected.item(), abs=1e-6)
    total.backward()
    assert not torch.allclose(q.grad, golden['grad_q_total'], atol=1e-3)


# ------------------------------------------------------------------ by hand


@pytest.mark.parametrize('gate_gradient', [True, False])
@pytest.mark.parametrize('weights', [
    dict(),
    dict(native=0.5, inherited=2., parent_head=3.),
])
def test_losses_and_gradients_by_hand(gate_gradient, weights):
    gen = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.randn(*shape, generator=gen, dtype=torch.float64)

    q, v, y = rand(5, 8).requires_grad_(), rand(5, 8), [0, 2, 1, 2, 0]
    heads = [(rand(3, 8), rand(3)), (rand(3, 8), rand(3))]
    method = GatedHKT(
        attention=dict(gate_gradient=gate_gradient), weights=weights)
    model = pooled_model(method, q.detach(), v, heads)
    with model.tapped():
        losses = model(q, samples(y), mode='loss')

    a = torch.sigmoid((q * v).sum(1, keepdim=True) / 8**.5)
    if not gate_gradient:
        a = a.detach()
    m = q + 0.6 * (1 - a) * (v - q)
    y = torch.tensor(y)
    logits = [
        x @ weight.T + bias
        for x, (weight, bias) in zip((q, m, m), (heads[0], *heads))
    ]
    expected = [
        weights.get(term, 1 / 3) * F.cross_entropy(x, y)
        for term, x in zip(TERMS, logits)
    ]
    names = ('native.loss', 'gatedhkt.inherited.loss',
             'gatedhkt.parent_head.loss')
    for name, value in zip(names, expected):
        assert losses[name].item() == pytest.approx(value.item(), abs=1e-6)
    for name, x in zip(
        ('native', 'gatedhkt.inherited', 'gatedhkt.parent_head'), logits):
        right = (x.argmax(1) == y).double().mean().item() * 100
        assert losses[f'{name}.accuracy'].item() == pytest.approx(right)

    total = sum(losses[name] for name in names)
    found_q, found_head = torch.autograd.grad(total,
                                              [q, model.child.head.fc.weight])
    by_hand = torch.autograd.grad(sum(expected), q, retain_graph=True)[0]
    assert torch.allclose(found_q, by_hand, atol=1e-6)
    # the child's head learns from two terms, the parent's from none
    by_hand = sum(
        torch.autograd.grad(loss, x, retain_graph=True)[0].T @ feature
        for loss, x, feature in zip(expected[:2], logits, (q, m)))
    assert torch.allclose(found_head, by_hand, atol=1e-6)
    assert not any(p.requires_grad for p in model.parent.parameters())


def test_intensity_zero_is_the_child_twice():
    model = stages_model(GatedHKT(weights=dict(parent_head=0)))
    model.methods[0].turn('intensity', 0.)
    losses = losses_of(model)
    assert torch.equal(losses['native.loss'],
                       losses['gatedhkt.inherited.loss'])
    model.methods[0].turn('intensity', 1.)
    losses = losses_of(model)
    assert not torch.equal(losses['native.loss'],
                           losses['gatedhkt.inherited.loss'])


# --------------------------------------------------------------------- cost

STAGE1 = [dict(child='backbone.stage1', parent='backbone.stage1')]


@pytest.mark.parametrize(
    'sites, weights, runs, terms',
    [
        # at the head one forward each, whatever is judged
        (None, dict(), (1, 1, 1, 1, 1, 1), 'nip'),
        (None, dict(native=0), (1, 1, 1, 1, 1, 1), 'ip'),
        (None, dict(inherited=0), (1, 1, 1, 1, 1, 1), 'np'),
        (None, dict(parent_head=0), (1, 1, 1, 1, 1, 1), 'ni'),
        # inside the backbone the child runs on once more from there, and the
        # parent, stopped after its feature, only to judge the mixture
        (STAGE1, dict(), (1, 1, 2, 1, 1, 1), 'nip'),
        (STAGE1, dict(parent_head=0), (1, 1, 2, 1, 1, 0), 'ni'),
        (STAGE1, dict(inherited=0), (1, 1, 1, 1, 1, 1), 'np'),
        # without the native loss the one forward is that with the mixture
        (STAGE1, dict(native=0), (1, 1, 1, 1, 1, 1), 'ip'),
        (STAGE1, dict(native=0, parent_head=0), (1, 1, 1, 1, 1, 0), 'i'),
    ])
def test_a_weight_of_zero_removes_the_cost(sites, weights, runs, terms):
    model = stages_model(GatedHKT(sites=sites, weights=weights))
    losses = losses_of(model)
    assert RUNS == ran(*runs)
    names = dict(
        n='native.loss',
        i='gatedhkt.inherited.loss',
        p='gatedhkt.parent_head.loss')
    assert [n for n in losses if 'loss' in n] == [names[t] for t in terms]


def test_a_term_scheduled_to_zero_costs_nothing_either():
    model = stages_model(GatedHKT(sites=STAGE1))
    method = model.methods[0]
    assert method.knobs() == [
        'intensity', 'weights.native', 'weights.inherited',
        'weights.parent_head', 'weights.hint', 'weights.logits'
    ]
    method.turn('weights.inherited', 0.)
    assert 'gatedhkt.inherited.loss' not in losses_of(model)
    assert RUNS == ran(1, 1, 1, 1, 1, 1)
    RUNS.clear()
    method.turn('weights.parent_head', 0.)
    assert [n for n in losses_of(model) if 'loss' in n] == ['native.loss']
    assert RUNS == ran(1, 1, 1, 0, 0, 0)
    method.turn('weights.inherited', 0.5)
    half = losses_of(model)['gatedhkt.inherited.loss']
    method.turn('weights.inherited', 1.)
    assert losses_of(model)['gatedhkt.inherited.loss'].item() == pytest.approx(
        2 * half.item())


def test_the_native_loss_is_the_childs_own():
    model = stages_model(GatedHKT(sites=STAGE1, weights=ONES))
    with_parent = losses_of(model)['native.loss']
    alone = model.child(IMAGES, LABELS, mode='loss')['loss']
    assert torch.equal(with_parent, alone)


def test_the_parents_head_teaches_child_and_adapters_alone():
    model = stages_model(GatedHKT(weights=dict(native=0, inherited=0)))
    losses = losses_of(model)
    assert [n for n in losses if 'loss' in n] == ['gatedhkt.parent_head.loss']
    losses['gatedhkt.parent_head.loss'].backward()
    assert model.child.backbone.stage0.conv.weight.grad.abs().sum() > 0
    assert model.child.head.fc.weight.grad is None
    mixture = model.methods[0].mixtures[0]
    assert mixture.transfer.project.weight.grad.abs().sum() > 0
    assert mixture.back.project.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.parent.parameters())


def test_the_parents_features_have_no_graph():
    model = stages_model(GatedHKT())
    inputs = IMAGES.clone().requires_grad_()
    step = Step(model._extraction, model.parent, inputs, LABELS)
    with model.tapped():
        assert not step.parent_feature('neck').requires_grad
        assert RUNS == ran(0, 0, 0, 1, 1, 1)
        assert step.child_feature('neck').requires_grad
        # each is computed once
        step.parent_feature('neck'), step.child_feature('neck')
        assert RUNS == ran(1, 1, 1, 1, 1, 1)
        step.forget()
    with pytest.raises(KeyError):
        step.child_feature('neck')


# -------------------------------------------------------------------- sites


def test_several_sites_flow_into_each_other():
    weights = {**ONES, 'parent_head': 0}
    model = stages_model(GatedHKT(sites='all', weights=weights)).eval()
    found = losses_of(model)['gatedhkt.inherited.loss']
    assert RUNS == ran(1, 2, 2, 1, 1, 1)
    method = model.methods[0]
    assert [site.child for site in method.sites] == [
        'backbone.stage0', 'backbone.stage1', 'backbone.stage2', 'neck'
    ]
    q, z = IMAGES, IMAGES
    for i in range(3):
        q = getattr(model.child.backbone, f'stage{i}')(q)
        z = getattr(model.parent.network.backbone, f'stage{i}')(z)
        q, _ = method.mixtures[i](q, z)
    q, _ = method.mixtures[3](q.mean((2, 3)), z.mean((2, 3)))
    expected = model.child.head.loss((q, ), LABELS)['loss']
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_last_site_is_judged_by_the_parents_head():
    """Whatever the order in which the sites are typed."""
    sites = [
        dict(child='backbone.stage2', parent='backbone.stage1'),
        dict(child='backbone.stage0', parent='backbone.stage0')
    ]
    model = stages_model(GatedHKT(sites=sites, weights=ONES)).eval()
    method = model.methods[0]
    assert method.judged_sites == [0]
    assert method.mixtures[0].back is not None
    assert method.mixtures[1].back is None
    found = losses_of(model)['gatedhkt.parent_head.loss']
    # The parent is stopped after its second stage.
    assert RUNS == ran(1, 2, 2, 1, 1, 1)
    child, parent = model.child.backbone, model.parent.network.backbone
    z0 = parent.stage0(IMAGES)
    z1 = parent.stage1(z0)
    q, _ = method.mixtures[1](child.stage0(IMAGES), z0)
    m, _ = method.mixtures[0](child.stage2(child.stage1(q)), z1)
    back = parent.stage2(method.mixtures[0].in_parent(m, z1))
    expected = model.parent.network.head.loss((back.mean((2, 3)), ), LABELS)
    assert found.item() == pytest.approx(expected['loss'].item(), abs=1e-6)


def test_without_inherited_only_the_last_site_is_kept():
    """Nothing flows on to it from the others."""
    weights = {**ONES, 'inherited': 0}
    model = stages_model(GatedHKT(sites='all', weights=weights)).eval()
    method = model.methods[0]
    assert [site.child for site in method.sites] == ['neck']
    assert len(method.mixtures) == len(method.describe()) == 1
    found = losses_of(model)['gatedhkt.parent_head.loss']
    q = model.child.extract_feat(IMAGES)[0]
    z = model.parent.network.extract_feat(IMAGES)[0]
    back = method.mixtures[0].back.project(method.mixtures[0](q, z)[0])
    expected = model.parent.network.head.loss((back, ), LABELS)['loss']
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_parents_head_may_judge_the_childs_own_feature():
    model = stages_model(GatedHKT(judged='own', weights=ONES)).eval()
    found = losses_of(model)
    method = model.methods[0]
    back = method.mixtures[0].back.project(model.child.extract_feat(IMAGES)[0])
    expected = model.parent.network.head.loss((back, ), LABELS)['loss']
    assert found['gatedhkt.parent_head.loss'].item() == pytest.approx(
        expected.item(), abs=1e-6)
    # The mixture is still what is inherited.
    mixture = stages_model(GatedHKT(weights={**ONES, 'parent_head': 0})).eval()
    mixture.methods[0].mixtures[0].transfer.load_state_dict(
        method.mixtures[0].transfer.state_dict())
    assert found['gatedhkt.inherited.loss'].item() == pytest.approx(
        losses_of(mixture)['gatedhkt.inherited.loss'].item(), abs=1e-6)
    with pytest.raises(ValueError, match='HKT: judged.*"child"'):
        GatedHKT(judged='child')


@pytest.mark.parametrize('mode', ['gate', 'learnable'])
def test_what_is_not_mixed_is_not_learned(mode):
    """Else a distributed run would wait for gradients that never come."""
    model = stages_model(
        GatedHKT(
            judged='own',
            attention=dict(mode=mode),
            weights=dict(inherited=0),
            schedule=[dict(knob='intensity')]))
    method = model.methods[0]
    sum(v for k, v in losses_of(model).items() if 'loss' in k).backward()
    assert [name for name, _ in method.named_parameters()
            ] == ['mixtures.0.back.project.weight']
    assert all(p.grad is not None for p in method.parameters())
    method.turn('intensity', 0.5)
    assert method.statistics() == {}
    assert method.describe()[0]['adapter'] == 'project 4 to 6'


def test_scale_holds_both_ways():
    model = stages_model(GatedHKT(scale='channel'))
    mixture = model.methods[0].mixtures[0]
    assert mixture.transfer.scale == mixture.back.scale == 'channel'
    assert 'scale of each channel' in model.methods[0].describe()[0]['adapter']


def test_intensity_of_one_site():
    method = GatedHKT(sites='all')
    model = stages_model(method)
    method.turn('intensity', 0.25)
    method.turn('intensity', 0.5, sites=[1, 3])
    assert [m.attention.factor
            for m in method.mixtures] == [0.25, 0.5, 0.25, 0.5]
    losses_of(model)
    statistics = method.statistics()
    assert statistics['intensity.neck'].item() == pytest.approx(0.3)
    assert statistics['intensity.backbone.stage2'].item() == pytest.approx(
        0.15)
    assert 0 < statistics['gate.backbone.stage0'].item() < 1


def test_describe():
    method = GatedHKT(sites=STAGE1)
    stages_model(method)
    row, = method.describe()
    assert row['adapter'] == 'project 6 to 4'
    # to the child and back to the parent
    assert row['parameters'] == 2 * 6 * 4
    assert row['reruns'] == 'child from backbone.stage1'
    method = GatedHKT(sites='head', weights=dict(parent_head=0))
    stages_model(method)
    row, = method.describe()
    assert row['parameters'] == 6 * 4 and row['reruns'] == 'head'


def test_what_is_learned_is_the_transfer_parameters():
    model = stages_model(GatedHKT(sites='all'))
    own = sum(p.numel() for p in model.transfer_parameters())
    assert own == 5 * 6 * 4
    assert own == sum(v.numel() for v in model.transfer_state_dict().values())
    childs = {id(p) for p in model.child.parameters()}
    assert not any(id(p) in childs for p in model.transfer_parameters())


def test_one_width_needs_no_parameters():
    model = stages_model(GatedHKT(), child_width=6)
    assert not model.transfer_parameters()


# ------------------------------------------------------------------- errors


@pytest.mark.parametrize('kwargs, words', [
    (dict(weights=dict(inherit=1)),
     ['GatedHKT has no loss term "inherit"', 'nearest: inherited']),
    (dict(weights=dict(parent=1)), ['"parent"', 'parent_head']),
    (dict(weights=dict(native=-1)),
     ['GatedHKT: weights', 'from 0 on', 'native: -1']),
    (dict(weights=dict(inherited='1')), ["inherited: '1'"]),
    (dict(weights=dict(inherited=None)), ['inherited: None']),
])
def test_bad_weights(kwargs, words):
    with pytest.raises(ValueError) as error:
        GatedHKT(**kwargs)
    for word in words:
        assert word in str(error.value)


def test_neither_inherited_nor_parent_head():
    with pytest.raises(ValueError, match='inherits nothing.*mmhkt.Alone'):
        stages_model(GatedHKT(weights=dict(inherited=0, parent_head=0)))


def test_one_child_site_twice():
    sites = [
        dict(child='backbone.stage2', parent=f'backbone.stage{i}')
        for i in (1, 2)
    ]
    with pytest.raises(ValueError, match='"backbone.stage2" stands in 2 sit'):
        stages_model(GatedHKT(sites=sites))


def test_one_parent_site_twice():
    sites = [
        dict(child=f'backbone.stage{i}', parent='backbone.stage2')
        for i in (1, 2)
    ]
    losses = losses_of(stages_model(GatedHKT(sites=sites)))
    assert losses['gatedhkt.parent_head.loss'].isfinite()


def test_classes_of_child_and_parent():
    with pytest.raises(ValueError) as error:
        stages_model(GatedHKT(), classes=(5, 7))
    for word in ('parent has 7 classes', 'child 5', 'a parent of 5 classes',
                 'weights=dict(parent_head=0)'):
        assert word in str(error.value)
    model = stages_model(GatedHKT(weights=dict(parent_head=0)), classes=(5, 7))
    assert losses_of(model)['gatedhkt.inherited.loss'].isfinite()


def test_no_parent():
    child = classifier(dict(type='mmhkt.Through'), 8)
    with pytest.raises(ValueError, match='GatedHKT needs a parent'):
        inherit(child, None, [GatedHKT()], torch.rand(2, 8))


def test_a_site_that_cannot_be_aligned():
    sites = [dict(child='backbone.stage1', parent='neck')]
    with pytest.raises(ValueError) as error:
        stages_model(GatedHKT(sites=sites))
    for word in ('"backbone.stage1"', '"neck"', 'before pooling'):
        assert word in str(error.value)


# ----------------------------------------------------------------- defaults


def test_defaults():
    method = METHODS.build(dict(type='mmhkt.GatedHKT'))
    assert type(method) is GatedHKT and method.name == 'gatedhkt'
    assert method.weights == {
        **dict.fromkeys(TERMS, 1 / 3), 'hint': 0,
        'logits': 0
    }
    assert method.schedule == [] and method.sites_wanted == 'head'
    stages_model(method)
    attention = method.mixtures[0].attention
    assert attention.mode == 'gate' and attention.select == 'novelty'
    assert attention.intensity.item() == pytest.approx(0.6)
    assert not attention.gate_gradient
