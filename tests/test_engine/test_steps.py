# Copyright (c) mmhkt authors. All rights reserved.
"""What a step costs, survives and does not wait for."""
import copy
import math

import pytest
import torch
from method_helpers import IMAGES, LABELS, RUNS, losses_of, ran, stages_model
from sync_helpers import no_sync

from mmhkt.inheritance import Regression, Transfer
from mmhkt.methods import DKD, HKT, KD, FitNet, GatedHKT, LePoKet, ReviewKD

METHODS = [
    HKT, GatedHKT, LePoKet, lambda: GatedHKT(sites='stages'),
    lambda: HKT(as_published=True), lambda: LePoKet(as_published=True),
    lambda: HKT(weights=dict(native=1.0)),
    lambda: HKT(weights=dict(inherited=0.0)),
    lambda: HKT(weights=dict(parent_head=1.0))
]  # yapf: disable


def total_of(model):
    return sum(v for k, v in losses_of(model).items() if 'loss' in k)


# ------------------------------------------------------------ bad batches


@pytest.mark.parametrize('width', [4, 6])
@pytest.mark.parametrize('value', [math.inf, math.nan])
@pytest.mark.parametrize('when', [0, 2])
@pytest.mark.parametrize('make', METHODS)
def test_a_bad_batch_of_the_parents_is_forgotten(make, when, value, width):
    """Its step is skipped, as a gradient scaler does; all later ones, and
    what is deployed, are as if it had not been."""
    found = []
    for bad in (False, True):
        model = stages_model(make(), child_width=width).train()
        optimiser = torch.optim.SGD(model.parameters(), 0.01)
        losses = []
        for step in range(4):
            if bad and step == when:
                norm = model.parent.network.backbone.stage0.bn
                kept = norm.bias.data.clone()
                norm.bias.data[:] = value
                assert not total_of(model).isfinite()
                norm.bias.data = kept
            optimiser.zero_grad()
            total = total_of(model)
            total.backward()
            optimiser.step()
            losses.append(total.item())
        found.append(losses)
        for name, stays in model.state_dict().items():
            assert stays.isfinite().all(), name
    assert all(map(math.isfinite, found[1]))
    # The child's norms have seen one batch more, which no loss depends on.
    assert found[1] == pytest.approx(found[0], rel=1e-6)


@pytest.mark.parametrize('make', METHODS)
def test_one_image(make):
    model = stages_model(make()).train()
    with model.tapped():
        losses = model(IMAGES[:1], LABELS[:1], mode='loss')
    total = sum(v for k, v in losses.items() if 'loss' in k)
    total.backward()
    assert total.isfinite()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


# ------------------------------------------------------------------- costs


def test_a_weaned_lepoket_is_the_child_alone():
    """Neither a parent nor a second pass for the loss that it has."""
    model = stages_model(LePoKet()).train()
    total_of(model)
    assert RUNS == ran(1, 1, 1, 1, 1, 1)
    model.methods[0].turn('intensity', 0.0)
    RUNS.clear()
    losses = losses_of(model)
    assert RUNS == ran(1, 1, 1, 0, 0, 0)
    assert losses['lepoket.inherited.loss'] == losses['native.loss']


@pytest.mark.parametrize('make', [HKT, lambda: GatedHKT(sites='stages')])
def test_a_weaned_mixture_is_not_computed(make, monkeypatch):
    """And not times 0, which would be NaN for an infinite feature."""
    model = stages_model(make()).train()
    model.methods[0].turn('intensity', 0.0)
    model.methods[0].turn('weights.hint', 0.0)
    model.methods[0].turn('weights.parent_head', 0.0)
    model.methods[0].turn('weights.logits', 0.0)
    RUNS.clear()
    model.parent.network.backbone.stage0.bn.bias.data[:] = math.inf
    losses = losses_of(model)
    assert RUNS == ran(1, 1, 1, 0, 0, 0)
    term = f'{model.methods[0].name}.inherited.loss'
    assert losses[term].isfinite()


def test_a_weaned_hkt_still_asks_for_its_hints():
    model = stages_model(HKT()).train()
    model.methods[0].turn('intensity', 0.0)
    RUNS.clear()
    losses = losses_of(model)
    assert RUNS == ran(1, 1, 1, 1, 1, 1)
    assert losses['hkt.hint.loss'] > 0


@pytest.mark.parametrize('sites, runs', [
    ([1], (1, 1, 1, 1, 1, 0)),
    ([0], (1, 1, 1, 1, 0, 0)),
    ([0, 2], (1, 1, 1, 1, 1, 1)),
])
def test_the_parent_stops_at_its_last_wanted_site(sites, runs):
    sites = [
        dict(child=f'backbone.stage{i}', parent=f'backbone.stage{i}')
        for i in sites
    ]
    model = stages_model(HKT(sites=sites, weights=dict(logits=0))).train()
    seen = []
    model.parent.network.head.register_forward_hook(
        lambda *args: seen.append(args))
    losses_of(model)
    assert RUNS == ran(*runs) and not seen


def test_the_parent_goes_on_for_its_logits():
    model = stages_model(KD()).train()
    losses_of(model)
    assert RUNS == ran(1, 1, 1, 1, 1, 1)


def test_one_call_a_site(monkeypatch):
    """The parent's feature is brought over once, and nothing is solved twice.
    """
    model = stages_model(HKT()).train()
    calls = []
    fitted = Transfer.fitted
    monkeypatch.setattr(
        Transfer, 'fitted', lambda *args, **kwargs:
        (calls.append('fitted'), fitted(*args, **kwargs))[1])
    cholesky = torch.linalg.cholesky_ex
    monkeypatch.setattr(
        torch.linalg, 'cholesky_ex', lambda *args:
        (calls.append('solve'), cholesky(*args))[1])
    losses_of(model)
    assert calls.count('fitted') == 3 and calls.count('solve') == 6
    calls.clear()
    model.methods[0].turn('intensity', 0.0)
    losses_of(model)
    assert calls.count('fitted') == 3 and calls.count('solve') == 3


def test_no_map_of_the_parents_width_is_kept():
    """For the backward pass of a hint, where the widths differ."""
    regression = Regression(4, 600, dim=1)
    q = torch.rand(2, 4, 5, 5, requires_grad=True)
    z = torch.rand(2, 600, 5, 5)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda t: saved.append(t.numel()) or t, lambda t: t):
        _, error = regression(q, z)
    error.backward()
    assert saved and max(saved) <= q.numel()


# ----------------------------------------------------------- which pass


def test_what_is_seen_does_not_depend_on_the_place_in_the_list():
    found = []
    for order in ((HKT, KD), (KD, HKT)):
        methods = [
            method(**(dict(weights=dict(native=0.0)) if method is KD else {}))
            for method in order
        ]
        model = stages_model(*methods)
        found.append(losses_of(model))
    for name in ('kd.distillation.loss', 'hkt.hint.loss'):
        assert found[0][name] == found[1][name]


@pytest.mark.parametrize('sees, term', [('own', 'own'), (None, 'mixture'),
                                        ('mixture', 'mixture')])
def test_a_method_sees_the_pass_that_it_asks_for(sees, term):
    model = stages_model(HKT(), KD(sees=sees, weights=dict(native=0.)))
    model.train()
    losses = losses_of(model)
    model.eval()
    # The same batch statistics, by hand.
    plain = stages_model(HKT(), KD(sees=sees, weights=dict(native=0.)))
    plain.train()
    with torch.no_grad():
        own = plain.child(IMAGES)
        z = plain.parent.network(IMAGES)
    expected = KD().distillation(own, z)
    same = losses['kd.distillation.loss'].item() == pytest.approx(
        0.9 * expected.item(), rel=1e-5)
    assert same == (term == 'own')


def test_a_mixture_that_nobody_makes():
    with pytest.raises(ValueError, match='KD is to see the mixture'):
        stages_model(KD(sees='mixture'))
    with pytest.raises(ValueError, match='KD: sees "mixtrue".*mixture'):
        KD(sees='mixtrue')


def test_a_pass_of_its_own_leaves_norms_to_the_own_pass():
    """With sees='own' beside HKT the norms learn from the own pass alone."""
    plain = stages_model(HKT(), KD(sees='own', weights=dict(native=0.)))
    other = copy.deepcopy(plain.child)
    plain.train(), other.train()
    losses_of(plain)
    other(IMAGES)
    for (name, one), two in zip(plain.child.named_buffers(), other.buffers()):
        assert torch.equal(one, two), name


# --------------------------------------------------- a GPU in miniature


@pytest.mark.parametrize('width', [4, 6])
@pytest.mark.parametrize('make', [
    *METHODS, KD, DKD, FitNet, ReviewKD
])  # yapf: disable
def test_a_step_waits_for_nothing(make, width):
    model = stages_model(make(), child_width=width).train()
    total_of(model).backward()
    with no_sync():
        total_of(model).backward()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('width', [4, 6])
@pytest.mark.parametrize('make', METHODS)
def test_half_precision_with_large_features(make, width, dtype):
    """Products beyond 65,504 stay out of half precision."""
    model = stages_model(make(), child_width=width).train()
    for network in (model.child, model.parent.network):
        norms = [network.backbone.get_submodule(f'stage{i}').bn
                 for i in range(3)]  # yapf: disable
        for norm in norms:
            norm.weight.data *= 100
            # The statistics of these images, for the parent in eval mode.
            norm.momentum = None
        network.train()(IMAGES)
    model.parent.eval()
    with torch.autocast('cpu', dtype=dtype):
        total = total_of(model)
    total.backward()
    assert total.isfinite()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name
