# Copyright (c) mmhkt authors. All rights reserved.
import copy

import pytest
import torch
from helpers import digits_config, prepared, same
from method_helpers import (IMAGES, LABELS, RUNS, losses_of, ran, samples,
                            stages_model)
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import get_state_dict
from torch import nn

from mmhkt.methods import (CC, HKT, KD, SP, Alone, FitNet, GatedHKT, LePoKet,
                           Method)
from mmhkt.models import build_network

METHOD = dict(type='mmhkt.LePoKet', sites='all')


def test_the_child_is_the_plain_one(tmp_path):
    cfg = digits_config(tmp_path, METHOD)
    model = prepared(cfg)
    plain = build_network(cfg)
    assert list(model.child.state_dict()) == list(plain.state_dict())
    assert get_state_dict(model.child).keys() == plain.state_dict().keys()
    assert list(model.child.state_dict()._metadata) == list(
        plain.state_dict()._metadata)
    assert [type(m) for m in model.child.modules()
            ] == [type(m) for m in plain.modules()]
    assert model.data_preprocessor is model.child.data_preprocessor
    methods = copy.deepcopy(model.transfer_state_dict())
    changed = {k: v + 1 for k, v in model.child.state_dict().items()}
    model.child.load_state_dict(changed, strict=True)
    assert same(model.transfer_state_dict(), methods)


def test_the_parent_is_no_part_of_it(tmp_path):
    model = prepared(digits_config(tmp_path, METHOD))
    parents = {id(p) for p in model.parent.parameters()}
    assert not parents & {id(p) for p in model.parameters()}
    assert not parents & {id(v) for v in model.state_dict().values()}
    assert model.parent not in set(model.modules())
    # All there is are the child and what the methods learn.
    mine = {id(p) for p in model.parameters()}
    assert mine == {
        id(p)
        for p in (*model.child.parameters(), *model.transfer_parameters())
    }
    assert model.transfer_parameters()
    assert set(model.transfer_state_dict()) == set(model.methods.state_dict())
    model.train()
    assert not any(m.training for m in model.parent.network.modules())
    assert not any(p.requires_grad for p in model.parent.parameters())


def test_a_copy_is_whole_and_shares_the_parent(tmp_path):
    model = prepared(digits_config(tmp_path, METHOD))
    twin = copy.deepcopy(model)
    assert twin.parent is model.parent
    assert twin.child is not model.child
    # Its step reads its own child.
    assert twin._extraction.network is twin.child


def test_an_average_of_the_child_is_a_plain_child(tmp_path):
    """Made, as the EMAHook makes it, before or while the child is tapped."""
    model = prepared(digits_config(tmp_path, METHOD))
    child = model.child.eval()
    images = torch.rand(2, 3, 8, 8)
    for tapped in (False, True):
        if tapped:
            with model.tapped():
                average = ExponentialMovingAverage(child)
        else:
            average = ExponentialMovingAverage(child)
        assert set(average.state_dict()) == {
            'steps', *(f'module.{k}' for k in child.state_dict())
        }
        saved = copy.deepcopy(average.state_dict())
        average.load_state_dict(saved, strict=True)
        with torch.no_grad():
            own = child(images)
            assert torch.equal(average.module(images), own)
            for parameter in average.module.head.parameters():
                parameter.zero_()
            assert torch.equal(child(images), own)
            with model.tapped():
                assert not torch.equal(average.module(images), child(images))


def bare(network):
    return not any('forward' in vars(m) for m in network.modules())


def test_the_child_is_tapped_while_it_is_trained_only():
    model = stages_model(GatedHKT(sites='all'))
    networks = model.child, model.parent.network
    assert all(map(bare, networks))
    with model.tapped():
        assert not any(map(bare, networks))
        model(IMAGES, LABELS, mode='loss')
        assert not any(map(bare, networks))
    assert all(map(bare, networks))
    with pytest.raises(RuntimeError, match='tapped'):
        model(IMAGES, LABELS, mode='loss')
    # And again, as after a validation.
    losses_of(model)
    with pytest.raises(KeyError):
        with model.tapped():
            raise KeyError
    assert all(map(bare, networks))


def test_the_dry_run_leaves_the_child_as_it_was():
    model = stages_model(HKT())
    for name, buffer in model.child.named_buffers():
        if name.endswith('num_batches_tracked'):
            assert buffer == 0
    assert model.child.training
    assert all(p.grad is None for p in model.parameters())


def test_other_modes_are_the_childs_own():
    model = stages_model(HKT()).eval()
    for tapped in (False, True):
        RUNS.clear()
        if tapped:
            with model.tapped():
                found = model(IMAGES)
                predicted = model(IMAGES, LABELS, mode='predict')
        else:
            found = model(IMAGES)
            predicted = model(IMAGES, LABELS, mode='predict')
        assert RUNS == ran(2, 2, 2, 0, 0, 0)
        assert torch.equal(found, model.child(IMAGES))
        expected = model.child(IMAGES, LABELS, mode='predict')
        for one, other in zip(predicted, expected):
            assert torch.equal(one.pred_score, other.pred_score)


# -------------------------------------------------------------------- losses


def test_names_of_losses_and_their_sum():
    model = stages_model(
        GatedHKT(sites='stages'), HKT(), KD(), KD(temperature=2.0))
    losses = losses_of(model)
    assert [m.name for m in model.methods] == ['gatedhkt', 'hkt', 'kd0', 'kd1']
    assert [n for n in losses if 'loss' in n] == [
        'native.loss', 'gatedhkt.inherited.loss', 'gatedhkt.parent_head.loss',
        'hkt.inherited.loss', 'hkt.hint.loss', 'hkt.logits.loss',
        'kd0.distillation.loss', 'kd1.distillation.loss'
    ]
    assert {n
            for n in losses if 'accuracy' in n} == {
                'native.accuracy', 'gatedhkt.inherited.accuracy',
                'gatedhkt.parent_head.accuracy', 'hkt.inherited.accuracy'
            }
    total, logged = model.parse_losses(losses)
    terms = [v for n, v in losses.items() if 'loss' in n]
    assert total.item() == pytest.approx(sum(t.item() for t in terms))
    assert logged['loss'].item() == total.item()


@pytest.mark.parametrize('weight', [0.5, 3.0])
def test_the_native_loss_has_the_weight_of_the_first_method(weight):
    model = stages_model(KD(weights=dict(native=weight)), FitNet())
    found = losses_of(model)['native.loss']
    expected = model.child(IMAGES, LABELS, mode='loss')['loss']
    assert found.item() == pytest.approx(weight * expected.item())


def test_a_method_does_the_same_beside_others():
    """Whatever its place in the list, as long as it sees the same pass."""
    one, other = (
        stages_model(*methods)
        for methods in ((KD(weights=dict(native=1)), SP(), GatedHKT()),
                        (GatedHKT(weights=dict(native=1)), SP(), KD())))
    other.child.load_state_dict(one.child.state_dict())
    other.parent.network.load_state_dict(one.parent.network.state_dict())
    for name in ('transfer', 'back'):
        mine, others = (getattr(m.methods[i].mixtures[0], name)
                        for m, i in ((one, 2), (other, 0)))
        others.load_state_dict(mine.state_dict())
    found, expected = losses_of(one), losses_of(other)
    assert set(found) == set(expected)
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


# ---------------------------------------------------------------- which pass


class Watching(Method):
    """Notes what it sees at the last stage."""

    default_sites = 'stages'
    default_weights = dict(native=1.0, seen=1.0)

    def forward(self, step):
        feature = self.child_feature(step, 'backbone.stage2')
        return self.weighted('seen', dict(loss=feature.mean()))


@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize(
    'sees, native, own',
    [
        (None, 1, True),
        (None, 0, False),  # there is no pass but that with the mixture
        ('own', 1, True),
        ('own', 0, True),
        ('mixture', 1, False),
        ('mixture', 0, False),
    ])
def test_what_a_method_sees(first, sees, native, own):
    hkt = HKT(
        attention=dict(intensity=1.0),
        weights=dict(native=native, hint=0, logits=0))
    watching = Watching(sees=sees, weights=dict(native=native))
    methods = (watching, hkt) if first else (hkt, watching)
    model = stages_model(*methods, parent_width=4).eval()
    found = losses_of(model)['watching.seen.loss']
    stages = list(model.child.backbone.children())
    q, z = IMAGES, IMAGES
    for mine, other in zip(stages[:2],
                           model.parent.network.backbone.children()):
        q, z = mine(q), other(z)
    q = stages[2](q if own else z)
    assert found.item() == pytest.approx(q.mean().item(), rel=1e-5)
    second = native or sees == 'own'
    assert ('native.loss' in losses_of(model)) == bool(native)
    RUNS.clear()
    losses_of(model)
    # At an intensity of 1 the later stages are given the mixture anew.
    assert RUNS == (ran(1, 2, 2, 1, 1, 1) if second else ran(1, 1, 1, 1, 1, 1))


def test_no_mixture_to_be_seen():
    with pytest.raises(
            ValueError, match='KD is to see the mixture.*mmhkt.HKT'):
        stages_model(KD(sees='mixture'))
    with pytest.raises(ValueError, match='KD: sees.*"mixtures".*mixture'):
        KD(sees='mixtures')
    # Weaned, the mixture is the child's own feature.
    hkt = HKT(weights=dict(native=1))
    model = stages_model(hkt, KD(sees='mixture'))
    hkt.turn('intensity', 0.)
    mixed = losses_of(model)
    own = stages_model(KD(sees='own'))
    own.child.load_state_dict(model.child.state_dict())
    own.parent.network.load_state_dict(model.parent.network.state_dict())
    assert torch.equal(mixed['kd.distillation.loss'],
                       losses_of(own)['kd.distillation.loss'])


def test_statistics_move_once_a_step():
    """Also where the child makes several passes."""
    model = stages_model(
        GatedHKT(sites='all'), LePoKet(sites='stages'), HKT(), KD())
    for steps in (1, 2):
        losses_of(model)
        assert {
            int(m.num_batches_tracked)
            for m in model.child.modules() if isinstance(m, nn.BatchNorm2d)
        } == {steps}


# -------------------------------------------------------------------- others


def test_a_last_batch_of_one_image():
    """For every method that has features of its own in mind."""
    for method in (HKT(), GatedHKT(), CC(), SP(), FitNet()):
        model = stages_model(method)
        model.eval()
        with model.tapped():
            losses = model(IMAGES[:1], LABELS[:1], mode='loss')
        assert all(v.isfinite().all() for v in losses.values())


def test_without_a_parent_nothing_is_needed():
    model = stages_model(Alone())
    assert [n for n in losses_of(model) if 'loss' in n] == ['native.loss']
    assert RUNS == ran(1, 1, 1, 0, 0, 0)
    assert not model.transfer_parameters()


def test_moves_the_parent_along(tmp_path):
    model = prepared(digits_config(tmp_path, METHOD))
    model.double()
    assert model.parent.network.head.fc.weight.dtype == torch.float64
    assert model.parent.renormalise.scale.dtype == torch.float64
    model.float()


def test_running_statistics_see_the_childs_own_features_only(tmp_path):
    """After a step they are those of a step of the child alone."""
    stats = []
    for method in ('mmhkt.Alone', dict(type='mmhkt.GatedHKT', sites='stages')):
        model = prepared(digits_config(tmp_path, method))
        init_default_scope('mmpretrain')
        torch.manual_seed(0)
        for parameter in model.child.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        model.train()
        with model.tapped():
            model.loss(torch.rand(6, 3, 8, 8), samples(range(6)))
        stats.append({
            k: v
            for k, v in model.child.state_dict().items()
            if 'running' in k or 'batches' in k
        })
    assert same(*stats)
    assert all(
        int(v) == 1 for k, v in stats[0].items() if k.endswith('tracked'))
