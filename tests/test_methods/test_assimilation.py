# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from helpers import same
from method_helpers import IMAGES, LABELS, RUNS, losses_of, ran, stages_model

from mmhkt.methods import Alone, Assimilation
from mmhkt.methods.assimilation import Regression, relative_error
from mmhkt.registry import METHODS


def stages_of(network):
    return [getattr(network.backbone, f'stage{i}') for i in range(3)]


def test_relative_error_by_hand():
    q = torch.tensor([[1., 2.], [3., 4.]], requires_grad=True)
    v = torch.tensor([[1., 0.], [0., 3.]], requires_grad=True)
    error = relative_error(q, v)
    # (0 + 4 + 9 + 1) / (1 + 0 + 0 + 9)
    assert error.item() == pytest.approx(1.4)
    assert relative_error(10 * q, 10 * v).item() == pytest.approx(1.4)
    error.backward()
    assert torch.allclose(q.grad, 2 * (q - v).detach() / 10)
    assert v.grad is None
    assert relative_error(q, torch.zeros(2, 2)).isfinite()


def test_relative_error_is_of_full_precision():
    q = torch.full((1, 2), 1.0, dtype=torch.bfloat16)
    v = torch.full((1, 2), 1.0 + 2**-6, dtype=torch.bfloat16)
    error = relative_error(q, v)
    assert error.dtype == torch.float32
    assert error.item() == pytest.approx((2**-6 / (1 + 2**-6))**2)


@pytest.mark.parametrize('intensity', [0.5, 1.0])
@pytest.mark.parametrize('parent_width', [4, 6])
def test_losses_by_hand(intensity, parent_width):
    """Each stage is given the mixture before it, and drawn to the parent's."""
    model = stages_model(
        Assimilation(attention=dict(intensity=intensity)),
        parent_width=parent_width)
    model.eval()
    method = model.methods[0]
    found = losses_of(model)
    assert RUNS == ran(1, 1, 1, 1, 1, 1)
    m, z, errors = IMAGES, IMAGES, []
    for child, parent, mixture in zip(
            stages_of(model.child), stages_of(model.parent.network),
            method.mixtures):
        q, z = child(m), parent(z)
        made, v = q, z
        if parent_width == 6:
            r = mixture.transfer.project.weight
            made = torch.einsum('pc,bchw->bphw', r, q)
            ridge = 1e-3 * (r**2).sum(0).mean() * torch.eye(4)
            v = torch.einsum('cp,bphw->bchw',
                             torch.inverse(r.T @ r + ridge) @ r.T, z)
        errors.append(((made - z)**2).sum() / (z**2).sum())
        m = q + intensity * (v - q)
    assert found['assimilation.assimilation.loss'].item() == pytest.approx(
        100 * sum(errors).item(), rel=1e-5)
    inherited = model.child.head.loss((m.mean((2, 3)), ), LABELS)['loss']
    assert found['assimilation.inherited.loss'].item() == pytest.approx(
        inherited.item(), rel=1e-5)
    statistics = method.statistics()
    for i, error in enumerate(errors):
        name = f'error.backbone.stage{i}'
        assert statistics[name].item() == pytest.approx(error.item(), rel=1e-5)


def test_the_errors_teach_the_child_and_the_regressions():
    model = stages_model(Assimilation())
    losses_of(model)['assimilation.assimilation.loss'].backward()
    assert all(stage.conv.weight.grad.abs().sum() > 0
               for stage in stages_of(model.child))
    assert all(m.transfer.project.weight.grad.abs().sum() > 0
               for m in model.methods[0].mixtures)
    assert all(p.grad is None for p in model.parent.parameters())


def test_the_mixture_teaches_no_regression():
    model = stages_model(Assimilation(attention=dict(intensity=0.5)))
    losses_of(model)['assimilation.inherited.loss'].backward()
    assert all(m.transfer.project.weight.grad is None
               for m in model.methods[0].mixtures)
    assert all(stage.conv.weight.grad.abs().sum() > 0
               for stage in stages_of(model.child))


@pytest.mark.parametrize('dim', [1, -1])
def test_regression_inverts_itself(dim):
    torch.manual_seed(0)
    regression = Regression(4, 6, dim)
    feature = torch.rand((2, 4, 3, 5) if dim == 1 else (2, 7, 4))
    there = regression.regress(feature)
    assert there.shape[dim] == 6
    assert torch.allclose(regression(there), feature, atol=0.05)


def test_regression_to_fewer_channels():
    """The feature of least norm among those that are regressed to it."""
    torch.manual_seed(0)
    regression = Regression(6, 4, -1)
    wanted = torch.rand(5, 4)
    back = regression(wanted)
    assert torch.allclose(regression.regress(back), wanted, atol=0.05)
    exact = wanted @ torch.linalg.pinv(regression.weight.detach()).T
    assert torch.allclose(back, exact, atol=0.05)


def test_regression_is_inverted_in_full_precision():
    torch.manual_seed(0)
    regression = Regression(4, 6, 1)
    feature = torch.rand(2, 6, 3, 3)
    exact = regression(feature)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rounded = regression(feature)
    assert torch.allclose(exact, rounded.float(), rtol=0.02, atol=0.02)
    assert not rounded.requires_grad


def test_without_errors_the_projection_is_learned_by_what_comes_behind():
    model = stages_model(
        Assimilation(
            attention=dict(intensity=0.5), weights=dict(assimilation=0)))
    losses_of(model)['assimilation.inherited.loss'].backward()
    mixtures = model.methods[0].mixtures
    assert not any(
        isinstance(m.transfer.project, Regression) for m in mixtures)
    assert all(m.transfer.project.weight.grad.abs().sum() > 0
               for m in mixtures)


def test_whole_parents_features_leave_each_stage_a_task_of_its_own():
    """With an intensity of 1 no stage's target depends on another stage."""
    model = stages_model(
        Assimilation(attention=dict(intensity=1.0)), parent_width=4).eval()
    losses_of(model)
    errors = [e[0] for e in model.methods[0].errors]
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
    model = stages_model(
        Assimilation(weights=dict(native=1)), parent_width=4).eval()
    for mine, other in zip(
            stages_of(model.child), stages_of(model.parent.network)):
        other.load_state_dict(mine.state_dict())
    found = losses_of(model)
    assert found['assimilation.assimilation.loss'].item() == 0
    assert torch.equal(found['assimilation.inherited.loss'],
                       found['native.loss'])


def test_weaned_it_is_the_child_alone():
    """Its one pass is then the child's own, running statistics included."""
    model, alone = (
        stages_model(method) for method in (Assimilation(), Alone()))
    alone.child.load_state_dict(model.child.state_dict())
    method = model.methods[0]
    method.turn('intensity', 0.0)
    found, native = losses_of(model), losses_of(alone)
    assert torch.equal(found['assimilation.inherited.loss'],
                       native['native.loss'])
    assert same(model.child.state_dict(), alone.child.state_dict())


def test_a_native_loss_costs_a_second_pass():
    model = stages_model(Assimilation(weights=dict(native=1)))
    losses_of(model)
    assert RUNS == ran(1, 2, 2, 1, 1, 1)


def test_terms_of_weight_zero_cost_nothing():
    model = stages_model(Assimilation(weights=dict(assimilation=0)))
    assert 'assimilation.assimilation.loss' not in losses_of(model)
    model = stages_model(Assimilation(weights=dict(native=1)))
    method = model.methods[0]
    method.turn('weights.inherited', 0.)
    assert list(k for k in losses_of(model) if 'loss' in k) == ['native.loss']
    assert not any(n.startswith('error') for n in method.statistics())


def test_defaults():
    method = METHODS.build(dict(type='mmhkt.Assimilation'))
    assert method.sites_wanted == 'stages'
    assert method.weights == dict(
        native=0, inherited=1, parent_head=0, assimilation=100)
    assert method.schedule == [
        dict(knob='intensity', rule='linear', start=1., stop=0., end=0.7)
    ]
    stages_model(method)
    attention = method.mixtures[0].attention
    assert attention.mode == 'static'
    assert 'weights.assimilation' in method.knobs()
    with pytest.raises(ValueError, match='as_published'):
        from mmhkt.runner.inheritance_runner import build_methods
        build_methods(dict(type='mmhkt.Assimilation', as_published=True))
