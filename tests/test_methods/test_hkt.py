# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from helpers import CONFIGS, same
from method_helpers import IMAGES, LABELS, RUNS, losses_of, ran, stages_model
from mmengine.config import Config

import mmhkt
from mmhkt.hooks.transfer_hook import Knobs
from mmhkt.inheritance import Regression
from mmhkt.methods import HKT, Alone
from mmhkt.models.pairing import pairing
from mmhkt.registry import METHODS, MODELS


def stages_of(network):
    return [getattr(network.backbone, f'stage{i}') for i in range(3)]


def by_hand(q, z, before):
    """v and the error, by the regression of the batches before; the first
    one's is its own."""
    x, y = (f.movedim(1, -1).flatten(0, -2).detach().double() for f in (q, z))
    sums = [x.T @ x, x.T @ y, (y**2).sum(), float(len(x))]
    learned = [0.9 * b + 0.1 * s for b, s in zip(before or [0] * 4, sums)]
    power = learned[2] / learned[3]
    if q.shape[1] == z.shape[1]:
        return z, ((x - y)**2).sum() / len(x) / power, learned
    square, cross = (before or sums)[:2]
    r = ridged(square, cross).T
    v = ridged(r.T @ r, r.T @ y.T).T.float()
    v = v.unflatten(0, q.movedim(1, -1).shape[:-1]).movedim(-1, 1)
    return v, ((x @ r.T - y)**2).sum() / len(x) / power, learned


def ridged(square, other):
    ridge = 1e-3 * square.diagonal().mean() * torch.eye(len(square))
    return torch.linalg.solve(square + ridge, other)


@pytest.mark.parametrize('intensity', [0.5, 1.0])
@pytest.mark.parametrize('parent_width', [4, 6])
def test_losses_by_hand(intensity, parent_width):
    """Each stage is given the mixture before it, and drawn to the parent's."""
    model = stages_model(
        HKT(attention=dict(intensity=intensity)), parent_width=parent_width)
    model.eval()
    method = model.methods[0].train()
    before = [None] * 3
    for images in (IMAGES, IMAGES[:2] / 2, IMAGES.flip(3)):
        RUNS.clear()
        with model.tapped():
            found = model(images, LABELS[:len(images)], mode='loss')
        assert RUNS == ran(1, 1, 1, 1, 1, 1)
        m, z, errors = images, images, []
        for i, (child, parent) in enumerate(
                zip(stages_of(model.child), stages_of(model.parent.network))):
            q, z = child(m), parent(z)
            v, error, before[i] = by_hand(q, z, before[i])
            errors.append(error)
            m = q + intensity * (v - q)
        # Solved in float32, here in float64.
        assert found['hkt.hint.loss'].item() == pytest.approx(
            100 * sum(errors).item(), rel=1e-4)
        inherited = model.child.head.loss((m.mean((2, 3)), ),
                                          LABELS[:len(images)])['loss']
        assert found['hkt.inherited.loss'].item() == pytest.approx(
            inherited.item(), rel=1e-5)
        statistics = method.statistics()
        for i, error in enumerate(errors):
            name = f'error.backbone.stage{i}'
            assert statistics[name].item() == pytest.approx(
                error.item(), rel=1e-4)


def test_the_errors_teach_the_child():
    model = stages_model(HKT())
    losses_of(model)['hkt.hint.loss'].backward()
    assert all(stage.conv.weight.grad.abs().sum() > 0
               for stage in stages_of(model.child))
    assert all(p.grad is None for p in model.parent.parameters())
    # The regressions are no business of the optimiser.
    assert not model.transfer_parameters()
    assert 'learned in training only: 0 parameters' in pairing(model).caption


def test_the_first_regression_is_of_its_own_batch():
    """So that the errors are what no regression could explain better."""
    model = stages_model(HKT()).eval()
    losses_of(model)
    q = model.child.backbone.stage0(IMAGES)
    z = model.parent.network.backbone.stage0(IMAGES)
    rows = [f.movedim(1, -1).flatten(0, -2).detach() for f in (q, z)]
    r = torch.linalg.lstsq(*rows).solution
    expected = ((rows[0] @ r - rows[1])**2).sum() / (z**2).sum()
    error = model.methods[0].statistics()['error.backbone.stage0']
    # But for the ridge.
    assert error.item() == pytest.approx(expected.item(), rel=0.05)


def test_regressions_learn_on_while_something_is_mixed_by_them():
    """Also while the hints are scheduled away."""
    model = stages_model(HKT()).eval()
    method = model.methods[0].train()
    losses_of(model)

    def cross():
        return method.state_dict()['mixtures.0.regression.cross'].clone()

    method.turn('weights.hint', 0.)
    before = cross()
    losses = losses_of(model)
    assert 'hkt.hint.loss' not in losses
    assert not torch.equal(before, cross())
    # With neither, and no logits, there is nothing to be computed.
    method.turn('weights.logits', 0.)
    method.turn('intensity', 0.)
    before = cross()
    RUNS.clear()
    losses_of(model)
    assert torch.equal(before, cross())
    assert RUNS == ran(1, 1, 1, 0, 0, 0)


def test_without_errors_the_projection_is_learned_by_what_comes_behind():
    model = stages_model(
        HKT(attention=dict(intensity=0.5), weights=dict(hint=0)))
    losses_of(model)['hkt.inherited.loss'].backward()
    mixtures = model.methods[0].mixtures
    assert not any(isinstance(m, Regression) for m in mixtures.modules())
    assert all(m.transfer.project.weight.grad.abs().sum() > 0
               for m in mixtures)


def test_whole_parents_features_leave_each_stage_a_task_of_its_own():
    """With an intensity of 1 no stage's target depends on another stage."""
    model = stages_model(
        HKT(attention=dict(intensity=1.0)), parent_width=4).eval()
    errors = []

    def noted(mixture, args, output):
        errors.append(output[1])

    for mixture in model.methods[0].mixtures:
        mixture.register_forward_hook(noted)
    losses_of(model)
    assert len(errors) == 3
    for i, error in enumerate(errors):
        model.zero_grad()
        error.backward(retain_graph=True)
        touched = [
            stage.conv.weight.grad is not None
            and bool(stage.conv.weight.grad.abs().sum() > 0)
            for stage in stages_of(model.child)
        ]
        assert touched == [j == i for j in range(3)]


def test_a_parent_of_the_same_weights_leaves_nothing_to_learn():
    model = stages_model(HKT(weights=dict(native=1)), parent_width=4).eval()
    for mine, other in zip(
            stages_of(model.child), stages_of(model.parent.network)):
        other.load_state_dict(mine.state_dict())
    found = losses_of(model)
    assert found['hkt.hint.loss'].item() == 0
    assert torch.equal(found['hkt.inherited.loss'], found['native.loss'])


def test_weaned_it_is_the_child_alone():
    """Its one pass is then the child's own, running statistics included."""
    model, alone = (stages_model(method) for method in (HKT(), Alone()))
    alone.child.load_state_dict(model.child.state_dict())
    method = model.methods[0]
    method.turn('intensity', 0.0)
    method.turn('weights.logits', 0.0)
    found, native = losses_of(model), losses_of(alone)
    assert torch.equal(found['hkt.inherited.loss'], native['native.loss'])
    assert same(model.child.state_dict(), alone.child.state_dict())


def test_a_native_loss_costs_a_second_pass():
    model = stages_model(HKT(weights=dict(native=1)))
    losses_of(model)
    assert RUNS == ran(1, 2, 2, 1, 1, 1)


def test_terms_of_weight_zero_cost_nothing():
    model = stages_model(HKT(weights=dict(hint=0)))
    assert 'hkt.hint.loss' not in losses_of(model)
    model = stages_model(HKT(weights=dict(native=1)))
    method = model.methods[0]
    for term in ('inherited', 'hint', 'logits'):
        method.turn(f'weights.{term}', 0.)
    assert list(k for k in losses_of(model) if 'loss' in k) == ['native.loss']
    assert not any(n.startswith('error') for n in method.statistics())


def test_without_a_mixture_the_hints_are_on_the_childs_own_features():
    unmixed = stages_model(HKT(attention=dict(intensity=0.0))).eval()
    own = stages_model(
        HKT(attention=dict(mode='learnable'),
            weights=dict(native=1, inherited=0, logits=0))).eval()
    own.child.load_state_dict(unmixed.child.state_dict())
    own.methods[0].load_state_dict(
        unmixed.methods[0].state_dict(), strict=False)
    expected = losses_of(unmixed)
    RUNS.clear()
    found = losses_of(own)
    assert RUNS == ran(1, 1, 1, 1, 1, 1)
    assert [n for n in found
            if 'loss' in n] == ['native.loss', 'hkt.hint.loss']
    assert found['hkt.hint.loss'].item() == pytest.approx(
        expected['hkt.hint.loss'].item(), rel=1e-6)
    # What is not mixed is not learned.
    sum(v for k, v in found.items() if 'loss' in k).backward()
    assert all(p.grad is not None for p in own.methods[0].parameters())
    # Nor does it matter when the mixture is scheduled away.
    faded = stages_model(HKT(weights=dict(native=1))).eval()
    faded.child.load_state_dict(own.child.state_dict())
    faded.methods[0].load_state_dict(own.methods[0].state_dict(), strict=False)
    faded.methods[0].turn('weights.inherited', 0.)
    assert losses_of(faded)['hkt.hint.loss'].item() == pytest.approx(
        found['hkt.hint.loss'].item(), rel=1e-6)


def test_what_runs_once_more():
    model = stages_model(HKT())
    assert 'hkt runs once more: nothing' in pairing(model).caption
    assert 'invert regression 6 to 4' in [
        row['adapter'] for row in model.methods[0].describe()
    ]
    model = stages_model(HKT(weights=dict(native=1)))
    assert 'hkt runs once more: child from backbone.stage0' in (
        pairing(model).caption)


def test_defaults():
    method = METHODS.build(dict(type='mmhkt.HKT'))
    assert method.sites_wanted == 'stages'
    assert method.weights == dict(
        native=0, inherited=1, parent_head=0, hint=100, logits=9)
    assert method.schedule == [
        dict(knob=knob, stop=0., end=0.3, least_iters=1500, latest=latest)
        for knob, latest in (('intensity', 0.7), ('weights.hint', 1.))
    ]
    stages_model(method)
    attention = method.mixtures[0].attention
    assert attention.mode == 'static'
    assert 'weights.hint' in method.knobs()


def test_hkt_as_the_paper_has_it():
    method = HKT(as_published=True)
    assert method.weights == dict(
        native=1, inherited=1, parent_head=1, hint=0, logits=0)
    assert method.schedule == [] and method.sites_wanted == 'head'
    stages_model(method)
    attention = method.mixtures[0].attention
    assert attention.mode == 'gate' and attention.select == 'novelty'
    assert attention.gate_gradient
    assert attention.intensity.item() == pytest.approx(0.6)
    assert method.mixes() and method.bounds() is None
    # What is typed holds.
    mixed = HKT(
        as_published=True,
        sites='stages',
        bound=0.1,
        weights=dict(parent_head=0),
        attention=dict(gate_gradient=False),
        schedule=[dict(knob='intensity')])
    assert mixed.weights == dict(
        native=1, inherited=1, parent_head=0, hint=0, logits=0)
    assert mixed.sites_wanted == 'stages' and len(mixed.schedule) == 1
    assert not mixed.attention['gate_gradient'] and mixed.bound == 0.1


def test_hints_are_turned_site_by_site():
    model = stages_model(HKT()).eval()
    whole = losses_of(model)['hkt.hint.loss']
    method = model.methods[0]
    assert method.site_knobs == ('intensity', 'weights.hint')
    errors = method.errors
    assert sum(errors.values()).item() * 100 == pytest.approx(whole.item())
    # The regressions of the batches before are those of the next batch, so
    # that it is told by the same errors, measured anew.
    method.turn('weights.hint', 0.0)
    method.turn('weights.hint', 0.05, [-1])
    assert [method.hints(i) for i in range(3)] == [False, False, True]
    found = losses_of(model)['hkt.hint.loss']
    assert list(method.errors) == [2]
    assert found.item() == pytest.approx(5 * method.errors[2].item())
    method.turn('weights.hint', 0.1, [0])
    found = losses_of(model)['hkt.hint.loss'].item()
    assert found == pytest.approx(10 * method.errors[0].item() +
                                  5 * method.errors[2].item())
    method.turn('weights.hint', 0.0)
    assert 'hkt.hint.loss' not in losses_of(model)


def test_logits_by_hand():
    """Standardised, at a temperature of 2, of the pass that there is."""
    model = stages_model(HKT()).eval()
    found = losses_of(model)['hkt.logits.loss']
    method = model.methods[0]
    method.turn('weights.hint', 0.0)
    method.turn('intensity', 0.0)
    found = losses_of(model)['hkt.logits.loss'].item()
    q, z = (network(IMAGES) for network in (model.child, model.parent.network))
    q, z = ((v - v.mean(1, keepdim=True)) / v.std(1, keepdim=True) / 2
            for v in (q, z))
    p = z.softmax(1)
    expected = 4 * (p * (z.log_softmax(1) - q.log_softmax(1))).sum(1).mean()
    weight = method.weights['logits']
    assert found == pytest.approx(weight * expected.item(), rel=1e-5)


def test_logits_of_other_classes_are_left_out_aloud():
    model = stages_model(HKT(), classes=(5, 7))
    assert 'hkt.logits.loss' not in losses_of(model)
    caption = pairing(model).caption
    assert 'hkt leaves the logits out: The parent has 7 classes' in caption
    # Typed, they are wanted.
    with pytest.raises(ValueError, match='The parent has 7 classes'):
        stages_model(HKT(weights=dict(logits=1.0)), classes=(5, 7))


def test_gradients_are_bounded_while_something_is_inherited():
    model = stages_model(HKT())
    method = model.methods[0]
    assert method.bounds() == 0.2
    network = model.child
    optimiser = torch.optim.SGD(network.parameters(), 0.1)

    def moved(gradient=1e3):
        """How far a step goes, relative to the weights."""
        before = torch.cat(
            [p.detach().flatten() for p in network.parameters()])
        for p in network.parameters():
            p.grad = torch.full_like(p, gradient)
        optimiser.step()
        after = torch.cat([p.detach().flatten() for p in network.parameters()])
        return ((after - before).norm() / before.norm()).item()

    with model.tapped():
        assert moved() == pytest.approx(0.02, rel=1e-4)
        # Not further at a higher rate, in whichever group it is.
        others = [torch.nn.Parameter(torch.zeros(1))]
        optimiser.add_param_group(dict(params=others, lr=0.01))
        optimiser.param_groups[0]['lr'] = 0.8
        assert moved() == pytest.approx(0.02, rel=1e-4)
        # What is small stays as it is, and so does another network.
        assert moved(1e-4) < 0.02
        network = torch.nn.Linear(3, 3)
        optimiser = torch.optim.SGD(network.parameters(), 1.0)
        assert moved() > 100
    network = model.child
    optimiser = torch.optim.SGD(network.parameters(), 1.0)
    assert moved() > 100
    method.turn('weights.hint', 0.0)
    method.turn('intensity', 0.0)
    assert method.bounds() is None
    assert HKT().bound == HKT(bound=None).bound == 0.2
    unbounded = HKT(bound=0)
    stages_model(unbounded)
    assert unbounded.mixes() and unbounded.bounds() is None
    with pytest.raises(ValueError, match='HKT: bound must be a number'):
        HKT(bound=-1)


def across_families(reverse=False, combined=(), **settings):
    """A convolutional child, a transformer of the same width as parent, from
    the configs, or the reverse; 1,000 steps."""
    names = ('resnet8_cifar', 'vit-d4-w64_digits')
    child, parent = (
        MODELS.build(
            Config.fromfile(CONFIGS / f'_base_/models/{name}.py').model)
        for name in (names[::-1] if reverse else names))
    return mmhkt.inherit(
        child,
        parent,
        torch.rand(2, 3, 8, 8),
        method=[*combined, dict(dict(type='mmhkt.HKT'), **settings)],
        steps=1000)


def test_between_families_it_weans_early_and_says_so():
    loss = across_families()
    method = loss.inheritance.methods[0]
    assert [m.regression.alike for m in method.mixtures] == [False] * 3
    assert 'hkt mixes nothing and weans within 10 % of any training' in (
        pairing(loss.inheritance).caption)
    assert {row['reruns'] for row in method.describe()} == {'nothing'}
    assert not method.mixes() and method.needs_own()
    # The labels' loss is that of the one pass, as within one family.
    with loss:
        loss(torch.rand(2, 3, 8, 8), torch.tensor([1, 2]))
    assert set(loss.terms) >= {
        'hkt.inherited.loss', 'hkt.hint.loss', 'hkt.logits.loss'
    } and 'native.loss' not in loss.terms
    knobs = Knobs([method])
    for iteration, factor in ((0, 1), (50, 0.5), (100, 0)):
        knobs.turn(iteration, 1000, 1000)
        assert method.hint_factors == [factor] * 3
        assert (method.bounds() is None) == (factor == 0)


def test_behind_another_method_the_labels_weigh_as_within_one_family():
    loss = across_families(combined=[dict(type='mmhkt.KD')])
    with loss:
        loss(torch.rand(2, 3, 8, 8), torch.tensor([1, 2]))
    terms = {k: v.item() for k, v in loss.terms.items()}
    assert terms['native.loss'] == pytest.approx(
        0.1 * terms['hkt.inherited.loss'], rel=1e-5)


@pytest.mark.parametrize('weights, native', [
    (dict(inherited=0), 1),
    (dict(inherited=0, hint=0), 1),
    (dict(inherited=0, native=0), 0),
    (dict(hint=0), 0),
])
def test_without_a_mixture_the_labels_are_learned_from(weights, native):
    method = HKT(weights=weights)
    assert method.weights['native'] == native
    losses = losses_of(stages_model(method))
    assert ('native.loss' in losses) == bool(native)


@pytest.mark.parametrize('settings', [
    dict(weights=dict(inherited=1)),
    dict(attention=dict(intensity=1.0)),
])
def test_a_mixture_that_is_typed_is_made_between_families(settings):
    loss = across_families(**settings)
    method = loss.inheritance.methods[0]
    assert 'hkt weans within 10 % of any training' in (pairing(
        loss.inheritance).caption)
    Knobs([method]).turn(50, 1000, 1000)
    assert [m.attention.factor for m in method.mixtures] == [0.5] * 3
    assert method.mixes() and method.weight('native') == 0


def test_one_such_site_is_enough():
    """Stages that are weaned at different times are not joined."""
    loss = across_families(sites=[
        dict(child='backbone.layer2', parent='backbone.layers.1'),
        dict(child='neck', parent='backbone')
    ])
    method = loss.inheritance.methods[0]
    assert [m.regression.alike for m in method.mixtures] == [False, True]
    Knobs([method]).turn(50, 1000, 1000)
    assert method.hint_factors == [0.5] * 2


@pytest.mark.parametrize('settings, schedule', [
    (dict(schedule=[dict(knob='intensity', end=0.7)]), 1),
    (dict(as_published=True, sites='stages'), 0),
    (dict(type='mmhkt.GatedHKT', sites='stages'), 0),
    (dict(type='mmhkt.LePoKet', sites='stages'), 1),
])
def test_what_is_typed_or_of_another_method_holds_between_families(
        settings, schedule):
    method = across_families(**settings).inheritance.methods[0]
    assert len(method.schedule) == schedule and not method.notes()
    knobs = Knobs([method])
    knobs.turn(350, 1000, 1000)
    factor = 0.5 if schedule else 1.0
    assert [m.attention.factor for m in method.mixtures] == [factor] * 3
    assert method.hint_factors == [1] * 3


def test_nothing_is_said_where_there_is_nothing_to_wean():
    loss = across_families(weights=dict(inherited=0, hint=0))
    assert loss.inheritance.methods[0].notes() == []
    assert 'none' in [
        row['adapter'] for row in loss.inheritance.methods[0].describe()
    ]
    assert pairing(loss.inheritance).rows
    # Typed, it needs no reason.
    loss = across_families(schedule=list(HKT.early_schedule))
    assert loss.inheritance.methods[0].notes() == []


def test_a_transformer_as_child_is_weaned_as_ever():
    method = across_families(reverse=True).inheritance.methods[0]
    assert [m.regression.alike for m in method.mixtures] == [False] * 3
    assert method.schedule == list(HKT.default_schedule)
    assert not method.notes()


def test_what_begins_later_is_at_its_start_before():
    """Logits that come in where the hints leave; stages one by one."""
    ramp = dict(knob='weights.logits', start=0, stop=1, begin=0.5)
    fades = dict(knob='weights.logits', stop=0.5, begin=0.8)
    first = dict(knob='intensity', sites=[0], begin=0.2, end=0.4)
    second = dict(knob='intensity', start=0.5, begin=0.4, end=0.6)
    step = dict(knob='weights.hint', rule='constant', start=0, begin=0.5)
    method = HKT(schedule=[ramp, fades, first, second, step])
    stages_model(method)
    knobs = Knobs([method])
    for done, logits, intensity, hint in ((0, 0, [1, .5],
                                           1), (30, 0, [.5] * 2,
                                                1), (45, 0, [.375] * 2, 1),
                                          (75, 4.5, [0, 0], 0), (90, 6.75,
                                                                 [0, 0], 0)):
        knobs.turn(done, 100, 100)
        assert method.weight('logits') == pytest.approx(logits)
        assert [m.attention.factor
                for m in method.mixtures[:2]] == pytest.approx(intensity)
        assert method.hint_factors == [hint] * 3


def test_in_one_family_nothing_is_weaned_early():
    method = HKT()
    stages_model(method)
    assert not method.notes()
    Knobs([method]).turn(500, 1000, 1000)
    assert method.hint_factors == [0.5] * 3
