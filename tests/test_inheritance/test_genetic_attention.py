# Copyright (c) mmhkt authors. All rights reserved.
import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS as MMENGINE_MODELS
from sync_helpers import no_sync
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmhkt.inheritance import GeneticAttention
from mmhkt.registry import MODELS

MODES = ('static', 'gate', 'spatial', 'learnable')


@pytest.fixture
def golden(shared_data):
    with np.load(shared_data / 'golden' / 'genetic_attention.npz') as data:
        return {name: torch.from_numpy(data[name]) for name in data}


def assert_golden(found, expected):
    assert found.dtype == torch.float64
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def pair(*shape, dtype=torch.float64):
    """A child's feature that wants a gradient, and a parent's."""
    gen = torch.Generator().manual_seed(0)
    q, v = torch.randn(2, *shape, generator=gen, dtype=dtype)
    return q.requires_grad_(), v


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# ------------------------------------------------------------ golden values


@pytest.mark.parametrize('kind, names', [('vec', 'qv'), ('map', ('qm', 'vm'))])
def test_golden_static(golden, kind, names):
    found = GeneticAttention('static')(*(golden[name] for name in names))
    assert_golden(found, golden[f'static_{kind}'])


@pytest.mark.parametrize('gate_gradient', [True, False])
def test_golden_gate(golden, gate_gradient):
    attention = GeneticAttention('gate', gate_gradient=gate_gradient)
    assert_golden(attention(golden['q'], golden['v']), golden['gate_vec'])


def test_golden_spatial(golden):
    """The golden values are the inherited part alone, intensity 1."""
    q, v = golden['qm'], golden['vm']
    published = GeneticAttention('spatial', rescale=False)(q, v)
    assert_golden(published, golden['spatial_map'])
    rescaled = GeneticAttention('spatial')(q, v)
    positions = q.shape[2] * q.shape[3]
    assert_golden(rescaled, positions * golden['spatial_map'])


def test_golden_learnable(golden):
    attention = GeneticAttention('learnable', channels=64).double()
    attention.load_state_dict(
        {
            'intensity': golden['lga.vlambda'][0],
            'query.weight': golden['lga.Wq.weight'],
            'key.weight': golden['lga.Wk.weight'],
            'value.weight': golden['lga.Wv.weight'],
            **{
                f'gate_mlp.{name}': golden[f'lga.gate.{name}']
                for name in ('0.weight', '0.bias', '2.weight', '2.bias')
            }
        },
        strict=True)
    assert_golden(attention(golden['q'], golden['v']), golden['lga_vec'])


# ---------------------------------------------------------- values by hand


def test_static_by_hand():
    q, v = torch.tensor([[10., -2.]]), torch.tensor([[20., 4.]])
    # 0.7 v + 0.3 q
    assert GeneticAttention('static')(q, v)[0].tolist() == pytest.approx(
        [17, 2.2])
    m = GeneticAttention('static', intensity=0.25)(q, v)
    assert m[0].tolist() == pytest.approx([12.5, -0.5])


@pytest.mark.parametrize('select', [None, 'novelty', 'affinity'])
def test_gate_by_hand(select):
    q = torch.tensor([[1., 2., 0., 1.], [0., 0., 0., 0.]])
    v = torch.tensor([[3., 1., 5., 1.], [2., 2., 2., 2.]])
    # <q, v> = 6 and 0, over the root of 4 channels: 3 and 0
    attention = GeneticAttention('gate', select=select)
    m = attention(q, v)
    affinity = sigmoid(3)
    coefficient = affinity if select == 'affinity' else 1 - affinity
    step = 0.6 * coefficient
    assert m[0].tolist() == pytest.approx(
        [1 + step * 2, 2 - step, step * 5, 1.])
    assert m[1].tolist() == pytest.approx([0.6 * 0.5 * 2] * 4)
    assert attention.last['gate'].item() == pytest.approx(
        (coefficient + .5) / 2)


def test_gate_as_the_paper_writes_it():
    """m = q + intensity (v - g) with g = a v + (1 - a) q."""
    q, v = pair(5, 7)
    a = torch.sigmoid((q * v).sum(1, keepdim=True) / math.sqrt(7))
    g = a * v + (1 - a) * q
    found = GeneticAttention('gate', intensity=0.3)(q, v)
    assert torch.allclose(found, q + 0.3 * (v - g), atol=1e-7)


def test_spatial_by_hand():
    # two positions, two channels: <q, v> over the root of 2 is 0 and log 3
    q = torch.tensor([[[[1., 1.]], [[1., 0.]]]])
    v = torch.tensor([[[[2., math.log(3) * math.sqrt(2)]], [[-2., 5.]]]])
    weight = torch.tensor([[0.25, 0.75]])
    published = GeneticAttention('spatial', rescale=False)(q, v)
    assert torch.allclose(published, weight * v, atol=1e-6)
    assert torch.allclose(
        GeneticAttention('spatial')(q, v), 2 * weight * v, atol=1e-6)
    half = GeneticAttention('spatial', intensity=0.5)(q, v)
    assert torch.allclose(half, 0.5 * q + weight * v, atol=1e-6)


def test_spatial_keeps_the_scale_of_a_constant_map():
    q, v = torch.ones(1, 3, 4, 5), torch.full((1, 3, 4, 5), 2.)
    assert torch.allclose(GeneticAttention('spatial')(q, v), v, atol=1e-5)


def by_hand_learnable():
    """Two channels with weights that are easy to reckon with."""
    attention = GeneticAttention('learnable', channels=2)
    weights = {
        'intensity': 0.5,
        'query.weight': [[1., 0.], [0., 2.]],
        'key.weight': [[0., 1.], [1., 0.]],
        'value.weight': [[2., 0.], [0., 2.]],
        'gate_mlp.0.weight': [[1., 0.], [0., -1.]],
        'gate_mlp.0.bias': [0., 0.],
        'gate_mlp.2.weight': [[1., 1.]],
        'gate_mlp.2.bias': [-1.],
    }
    attention.load_state_dict({
        name: torch.tensor(value)
        for name, value in weights.items()
    })
    return attention


@pytest.mark.parametrize('select', ['affinity', 'novelty'])
def test_learnable_by_hand(select):
    attention = by_hand_learnable()
    assert attention.select == 'affinity'
    attention.select = select
    m = attention(torch.tensor([[1., 2.]]), torch.tensor([[3., 1.]]))
    # Q = (1, 4), K = (1, 3), Q*K = (1, 12); the MLP: relu(1, -12) - 1 = 0
    affinity = (sigmoid(13 / math.sqrt(2)) + 0.5) / 2
    step = 0.5 * (affinity if select == 'affinity' else 1 - affinity)
    assert m[0].tolist() == pytest.approx([1 + 5 * step, 2 + 0 * step])


def test_learnable_has_no_bias_in_its_projections():
    attention = GeneticAttention('learnable', channels=4)
    own = sum(p.numel() for p in attention.parameters())
    # three projections, an MLP 4 -> 4 -> 1, the intensity
    assert own == 3 * 16 + (16 + 4) + (4 + 1) + 1


# ----------------------------------------------------------------- gate_per


def test_gate_per_sample_on_maps():
    q, v = pair(2, 4, 3, 5)
    m = GeneticAttention('gate')(q, v)
    pooled = (q.mean((2, 3)) * v.mean((2, 3))).sum(1) / 2
    step = 0.6 * (1 - torch.sigmoid(pooled)).view(2, 1, 1, 1)
    assert torch.allclose(m, q + step * (v - q), atol=1e-7)


def test_gate_per_position_on_maps():
    q, v = pair(2, 4, 3, 5)
    m = GeneticAttention('gate', gate_per='position')(q, v)
    step = 0.6 * (1 - torch.sigmoid((q * v).sum(1, keepdim=True) / 2))
    assert torch.allclose(m, q + step * (v - q), atol=1e-7)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('gate_per', ['sample', 'position'])
def test_tokens_are_maps_written_in_a_row(mode, gate_per):
    q, v = pair(2, 4, 3, 5)
    attention = GeneticAttention(mode, gate_per=gate_per, channels=4).double()
    m = attention(q, v)
    assert m.shape == q.shape
    tokens = attention(*(x.flatten(2).transpose(1, 2) for x in (q, v)))
    assert tokens.shape == (2, 15, 4)
    assert torch.allclose(m.flatten(2).transpose(1, 2), tokens)


@pytest.mark.parametrize('mode', ['gate', 'learnable'])
def test_a_vector_is_a_map_of_one_position(mode):
    q, v = pair(3, 4)
    attention = GeneticAttention(mode, channels=4).double()
    as_map = attention(q[:, :, None, None], v[:, :, None, None])
    assert torch.allclose(attention(q, v), as_map[:, :, 0, 0])


# ---------------------------------------------------------------- gradients


def gradient(m, q):
    # weighted, so that no component's error can be made up by another's
    weight = torch.arange(1., m.numel() + 1, dtype=m.dtype).view_as(m)
    return torch.autograd.grad((m * weight).sum(), q)[0]


def reference(mode, select, per, q, v, detach):
    """The mixture on a map, written once more."""
    q2, v2 = (q.detach(), v.detach()) if detach else (q, v)
    if per == 'sample' and mode == 'gate':
        q2, v2 = (x.mean((2, 3), keepdim=True) for x in (q2, v2))
    dot = (q2 * v2).sum(1, keepdim=True) / math.sqrt(q.shape[1])
    if mode == 'spatial':
        weight = torch.exp(dot) / torch.exp(dot).sum((2, 3), keepdim=True)
        return q + 0.6 * (weight * dot[0].numel() * v - q)
    a = 1 / (1 + torch.exp(-dot))
    return q + 0.6 * (a if select == 'affinity' else 1 - a) * (v - q)


@pytest.mark.parametrize('gate_gradient', [True, False])
@pytest.mark.parametrize('mode, select, per', [
    ('gate', 'novelty', 'sample'),
    ('gate', 'affinity', 'sample'),
    ('gate', 'novelty', 'position'),
    ('spatial', None, 'sample'),
])
def test_gate_gradient(gate_gradient, mode, select, per):
    q, v = pair(2, 3, 2, 2)
    attention = GeneticAttention(
        mode,
        intensity=0.6,
        select=select,
        gate_per=per,
        gate_gradient=gate_gradient)
    found = gradient(attention(q, v), q)
    ways = [
        gradient(reference(mode, select, per, q, v, detach), q)
        for detach in (not gate_gradient, gate_gradient)
    ]
    assert torch.allclose(found, ways[0], atol=1e-6)
    assert not torch.allclose(found, ways[1], atol=1e-3)


def test_gate_gradient_is_off_by_default():
    q, v = pair(2, 3)
    attention = GeneticAttention()
    assert attention.mode == 'gate' and not attention.gate_gradient
    m = attention(q, v)
    kept = (1 - 0.6 * (m - q) / (0.6 * (v - q))).detach()
    assert torch.allclose(torch.autograd.grad(m.sum(), q)[0], kept, atol=1e-6)


@pytest.mark.parametrize('gate_gradient', [True, False])
def test_learnable_learns_through_its_gate_in_any_case(gate_gradient):
    # Four hidden units may all be dead with other weights.
    torch.manual_seed(0)
    q, v = pair(6, 4)
    attention = GeneticAttention(
        'learnable', channels=4, gate_gradient=gate_gradient).double()
    m = attention(q, v)
    m.square().sum().backward()
    for name, parameter in attention.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    # without it, q gets what passes by the gate alone
    inherited = attention.value(v)
    step = ((m - q) / (inherited - q)).detach()
    by = 2 * m.detach() * (1 - step)
    assert torch.allclose(q.grad, by, atol=1e-6) is not gate_gradient


@pytest.mark.parametrize('gate_gradient', [True, False])
def test_the_parents_side_gets_its_gradient(gate_gradient):
    """What brings the parent's feature over learns through the mixture."""
    q, v = pair(2, 3)
    v.requires_grad_()
    attention = GeneticAttention('gate', gate_gradient=gate_gradient)
    m = attention(q, v)
    step = ((m - q) / (v - q)).detach()
    found = torch.autograd.grad(m.sum(), v)[0]
    assert torch.allclose(found, step, atol=1e-6) is not gate_gradient


# ---------------------------------------------------------------- intensity


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('shape', [(2, 4, 3, 3), (2, 9, 4)])
def test_factor_zero_is_exactly_the_child(mode, shape):
    q, v = pair(*shape, dtype=torch.float32)
    attention = GeneticAttention(mode, channels=4)
    assert not torch.equal(attention(q, v), q)
    attention.factor = 0.
    assert torch.equal(attention(q, v), q)


def test_factor_multiplies_the_intensity():
    q, v = torch.zeros(1, 2), torch.ones(1, 2)
    attention = GeneticAttention('static', intensity=0.8)
    attention.factor = 0.25
    assert attention(q, v)[0].tolist() == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize('mode, intensity, select', [
    ('static', 0.7, None),
    ('gate', 0.6, 'novelty'),
    ('spatial', 1.0, None),
    ('learnable', 0.5, 'affinity'),
])
def test_published_settings_are_the_defaults(mode, intensity, select):
    attention = GeneticAttention(mode, channels=4)
    assert attention.intensity.item() == pytest.approx(intensity)
    assert attention.select == select
    learned = isinstance(attention.intensity, nn.Parameter)
    assert learned is (mode == 'learnable')
    assert f'mode={mode}' in repr(attention)
    assert f'intensity={intensity:g}' in repr(attention)


def test_learned_intensity_gets_its_gradient():
    q, v = torch.zeros(1, 2), torch.tensor([[3., 5.]])
    attention = GeneticAttention('static', learn_intensity=True)
    attention.factor = 0.5
    attention(q, v).sum().backward()
    # d/d intensity of intensity * factor * (v - q)
    assert attention.intensity.grad.item() == pytest.approx(4)


def test_intensity_of_learnable_can_be_fixed():
    attention = GeneticAttention(
        'learnable', channels=2, intensity=0.25, learn_intensity=False)
    assert 'intensity' in dict(attention.named_buffers())
    assert 'intensity' not in dict(attention.named_parameters())


def test_what_is_kept_for_the_logs():
    q, v = pair(2, 4)
    attention = GeneticAttention('gate', gate_gradient=True)
    assert attention.last == {}
    attention(q, v)
    similarity = (q * v).sum(1) / 2
    assert not any(value.requires_grad for value in attention.last.values())
    found = {name: value.item() for name, value in attention.last.items()}
    assert found == dict(
        similarity=pytest.approx(similarity.mean().item()),
        gate=pytest.approx((1 - similarity.sigmoid()).mean().item()))
    static = GeneticAttention('static')
    static(q, v)
    assert static.last == {}
    learnable = GeneticAttention('learnable', channels=4).double()
    learnable(q, v)
    assert set(learnable.last) == {'gate', 'similarity'}


# ---------------------------------------------------------- half precision

HALF = [(mode, per) for mode in MODES for per in ('sample', 'position')
        if mode in ('gate', 'learnable') or per == 'sample']


@pytest.mark.parametrize('scale', [1., 100., 300.])
@pytest.mark.parametrize('shape', [(3, 64), (3, 64, 4, 4), (3, 16, 64)])
@pytest.mark.parametrize('mode, per', HALF)
def test_half_precision(mode, per, shape, scale):
    """As in float32, where inner products pass 65,504 by far."""
    if mode == 'spatial' and len(shape) == 2:
        pytest.skip('has no positions')
    torch.manual_seed(0)
    q, v = (scale * torch.rand(2, *shape)).half()
    attention = GeneticAttention(
        mode, gate_per=per, channels=64, gate_gradient=True)
    expected = attention(q.float(), v.float())
    q.requires_grad_()
    with torch.autocast('cpu', dtype=torch.float16):
        m = attention(q, v)
        assert m.dtype == torch.float16
    torch.testing.assert_close(
        m.float(), expected, rtol=5e-3, atol=5e-3 * scale)
    m.float().mean().backward()
    assert q.grad.isfinite().all()
    assert all(value.isfinite() for value in attention.last.values())


def test_a_parents_feature_of_another_precision():
    q, v = torch.rand(2, 4).half(), torch.rand(2, 4)
    for mode in ('static', 'gate'):
        assert GeneticAttention(mode)(q, v).dtype == torch.float16
        assert GeneticAttention(mode)(v, q).dtype == torch.float32


# ------------------------------------------------------------------- weaned


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('training', [True, False])
def test_weaned_computes_nothing(mode, training):
    q, v = torch.rand(2, 4, 3, 3), torch.full((2, 4, 3, 3), math.inf)
    attention = GeneticAttention(mode, channels=4, drop=0.5).train(training)
    attention(q, q)
    assert not attention.weaned
    attention.factor = 0.
    before = torch.get_rng_state()
    assert attention.weaned and attention(q, v) is q
    assert torch.equal(torch.get_rng_state(), before)
    # Not what it was once.
    assert attention.last == {}
    attention.factor = 0.5
    assert not attention.weaned


def test_weaned_by_its_intensity():
    q, v = pair(2, 4)
    attention = GeneticAttention('gate', intensity=0.)
    assert attention.weaned and attention(q, v) is q
    # What is learned may grow again.
    assert not GeneticAttention(
        'static', intensity=0., learn_intensity=True).weaned


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('kwargs', [
    *(dict(mode=mode) for mode in MODES),
    dict(mode='gate', gate_per='position', gate_gradient=True),
    dict(mode='static', learn_intensity=True),
    dict(mode='static', drop=0.5, random_intensity=True),
])
def test_the_host_does_not_wait(kwargs, training):
    attention = GeneticAttention(channels=4, **kwargs).train(training)
    q, v = torch.rand(2, 2, 4, 3, 3)
    q.requires_grad_()
    with no_sync():
        attention.factor = 0.5
        attention(q, v).sum().backward()


def test_static_is_one_operation():

    class Operations(TorchDispatchMode):
        seen = []

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            self.seen.append(operation.overloadpacket)
            return operation(*args, **(kwargs or {}))

    q, v = torch.rand(2, 2, 4, 3, 3)
    attention = GeneticAttention('static').train()
    with Operations() as operations:
        attention(q, v)
    assert operations.seen == [torch.ops.aten.lerp]


# ------------------------------------------------------------------ as neck


@pytest.mark.parametrize('mode', MODES)
def test_identity_without_a_parent(mode):
    attention = GeneticAttention(mode, channels=4)
    q = torch.rand(2, 4)
    assert attention(q) is q
    feats = (q, torch.rand(2, 4, 3, 3))
    assert attention(feats) is feats


def test_registered_as_a_neck():
    cfg = dict(type='mmhkt.GeneticAttention', mode='static', intensity=0.2)
    for registry in (MODELS, MMENGINE_MODELS):
        neck = registry.build(cfg)
        assert type(neck) is GeneticAttention and neck.mode == 'static'


# ------------------------------------------------------------------- errors


@pytest.mark.parametrize('kwargs, words', [
    (dict(mode='gates'), ['mode "gates"', 'nearest: gate']),
    (dict(select='noveltie'), ['select "noveltie"', 'nearest: novelty']),
    (dict(gate_per='positions'), ['gate_per "positions"', 'position']),
    (dict(mode='static', select='novelty'), ['"static" has no gate']),
    (dict(mode='spatial', select='affinity'), ['"spatial" has no gate']),
    (dict(mode='learnable'), ['"learnable" needs `channels`']),
])
def test_bad_settings(kwargs, words):
    with pytest.raises(ValueError) as error:
        GeneticAttention(**kwargs)
    for word in words:
        assert word in str(error.value)


def test_features_of_two_shapes():
    with pytest.raises(ValueError, match=r'\(2, 4\).*\(2, 5\)'):
        GeneticAttention()(torch.rand(2, 4), torch.rand(2, 5))


def test_spatial_needs_positions():
    with pytest.raises(ValueError, match='site before pooling'):
        GeneticAttention('spatial')(*pair(2, 4))


# ------------------------------------------------------------------- chance


@pytest.mark.parametrize('shape', [(400, 4), (400, 4, 2, 2), (400, 3, 4)])
def test_drop(shape):
    """A sample keeps all of its own feature, or gets the whole mixture."""
    q, v = torch.rand(2, *shape)
    attention = GeneticAttention('static', drop=0.25)
    whole = attention.eval()(q, v)
    torch.manual_seed(0)
    out = attention.train()(q, v).flatten(1)
    own = (out == q.flatten(1)).all(1)
    torch.testing.assert_close(out[~own], whole.flatten(1)[~own])
    assert 0.15 < own.float().mean().item() < 0.35


@pytest.mark.parametrize('shape', [(400, 4), (400, 4, 2, 2)])
def test_random_intensity(shape):
    q, v = torch.zeros(shape), torch.ones(shape)
    attention = GeneticAttention(
        'static', intensity=0.8, random_intensity=True)
    torch.manual_seed(0)
    out = attention(q, v).flatten(1)
    assert torch.equal(out, out[:, :1].expand_as(out))
    assert 0 <= out.min() and out.max() <= 0.8
    assert out.mean().item() == pytest.approx(0.4, abs=0.03)
    assert torch.allclose(attention.eval()(q, v), torch.tensor(0.8))


@pytest.mark.parametrize('drop', [-0.1, 1.0])
def test_bad_drop(drop):
    with pytest.raises(ValueError, match='drop must be a number from 0'):
        GeneticAttention(drop=drop)
