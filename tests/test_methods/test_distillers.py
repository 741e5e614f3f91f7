# Copyright (c) mmhkt authors. All rights reserved.
import math
import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from distiller_helpers import ALL, distiller, loss_of, step_of
from helpers import digits_config, prepared
from mmengine.config import Config
from mmpretrain.structures import DataSample
from seg_helpers import tiny_model
from torch import nn

from mmhkt.inheritance import Layout, Site
from mmhkt.methods import (AT, CC, CRD, CWD, DIST, DKD, KD, MGD, NST, OFD, PKT,
                           RKD, SP, VID, FitNet, ReviewKD)
from mmhkt.methods.crd import Contrast, mean_of_each
from mmhkt.methods.dist import correlation
from mmhkt.methods.kd import independent_divergence
from mmhkt.methods.ofd import Connector, partial_distance
from mmhkt.methods.reviewkd import Fusion, hierarchical_context
from mmhkt.methods.rkd import angles, distances
from mmhkt.models import ImageFormat, Inheritance, Parent, build_network


@pytest.fixture
def golden(shared_data):
    """Inputs, and the losses that two public implementations have for them."""
    with np.load(shared_data / 'golden/distillation_losses.npz') as file:
        return {name: torch.as_tensor(file[name]) for name in file}


def labelled(labels):
    return SimpleNamespace(
        data_samples=[DataSample().set_gt_label(int(i)) for i in labels])


def connected(method, *pairs):
    """A method whose sites are maps of these shapes of child and parent."""
    sites = [
        Site(f'c{i}', f'p{i}', Layout.of(c, (32, 32)), Layout.of(p, (32, 32)))
        for i, (c, p) in enumerate(pairs)
    ]
    network = SimpleNamespace(want=lambda sites: None, conflict=None)
    method.connect(sites, network, network)
    return method


def features_of(q, z):
    """A step that has these features, of one site or of several."""
    q, z = ([f] if isinstance(f, torch.Tensor) else f for f in (q, z))
    return SimpleNamespace(
        child_feature=lambda site, *_, **__: q[int(site[1:] or 0)],
        parent_feature=lambda site, *_, **__: z[int(site[1:] or 0)])


def close(loss, expected, rtol=1e-4):
    torch.testing.assert_close(
        loss.squeeze(), expected.squeeze(), rtol=rtol, atol=0)


def test_golden_logits(golden):
    q, z = golden['logits_s'], golden['logits_t']
    step = labelled(golden['labels'])
    close(KD().distillation(q, z, 0, step), golden['kd_T4'])
    close(KD().distillation(q, z, 0, step), golden['kd_T4_rep'])
    dkd = DKD()
    close(
        dkd.target(q, z, 0, step) + 8 * dkd.nontarget(q, z, 0, step),
        golden['dkd_a1_b8_T4'])
    close(DIST().inter(q, z), golden['dist_tau4_inter'])
    close(DIST().intra(q, z), golden['dist_tau4_intra'])


def test_golden_pooled(golden):
    q, z = golden['pooled_s'], golden['pooled_t']
    rkd = RKD()
    loss = 25 * rkd.distance(q, z) + 50 * rkd.angle(q, z)
    close(loss, golden['rkd_25_50'])
    close(loss, golden['rkd_rep'])
    close(PKT().distillation(q, z), golden['pkt'])
    close(PKT().distillation(q, z), golden['pkt_rep'])


def test_golden_maps(golden):
    maps = [(golden[f'map_s{i}'], golden[f'map_t{i}']) for i in range(3)]
    for name, keys, loss in (('at', ('at_p2', 'at_rep'), AT().distillation),
                             ('nst', ('nst', 'nst_rep'), NST().distillation),
                             ('hcl', ('hcl', ), hierarchical_context)):
        for key in keys:
            close(sum(loss(q, z) for q, z in maps), golden[key])
    q, z = maps[-1]
    close(SP().distillation(q, z), golden['sp_last'])
    close(SP().distillation(q, z), golden['sp_rep'])
    cwd = connected(CWD(), (q.shape, z.shape))
    close(cwd.distillation(q, z, 0), golden['cwd_tau1_last'])
    # The loss behind the regressor.
    fitnet = connected(FitNet(), (q.shape, z.shape))
    fitnet.adapters[0] = nn.Identity()
    q, z = fitnet.adapt(q, z, 0, None)
    close(fitnet.distillation(q, z, 0), golden['fitnet_mse_last'])


def test_kd_by_hand():
    q, z = torch.tensor([[0., 0.]]), torch.tensor([[math.log(3), 0.]])
    # Probabilities 1/2, 1/2 and 3/4, 1/4.
    divergence = .75 * math.log(1.5) + .25 * math.log(.5)
    close(KD(temperature=1.).distillation(q, z), torch.tensor(divergence))
    # Twice the logits at twice the temperature: four times the loss.
    close(
        KD(temperature=2.).distillation(2 * q, 2 * z),
        torch.tensor(4 * divergence))


@pytest.mark.parametrize('method', [KD, DIST])
def test_standardised_logits_know_no_shift_and_no_scale(method):
    # Fixed: the small constant in DIST's denominator counts where a class is
    # improbable, so that not every draw would stay below the bound.
    q, z = torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0))
    method = method(standardise=True, temperature=2.)
    for term in (t for t in method.weights if t != 'native'):
        loss = getattr(method, term)
        close(loss(3 * q + 1, z), loss(q, z))
        assert loss(q, z) > 0
        assert loss(5 * z - 2, z).abs() < 1e-5
    scaled = method.scaled(q)
    close(scaled.std(1), torch.full((6, ), .5))


def test_two_logits_are_not_standardised():
    """All that would be left of them is which one is larger."""
    q = torch.tensor([[1., 2.], [4., 1.]], requires_grad=True)
    method = KD(standardise=True, temperature=2.)
    close(method.scaled(q), q / 2)
    method.distillation(q, torch.tensor([[3., 0.], [0., 1.]])).backward()
    assert q.grad.abs().min() > 0.1


def test_standardised_logits_of_a_head_that_begins_with_zero():
    """The gradient is bounded, so that the first step ruins nothing."""
    q = torch.zeros(4, 10, requires_grad=True)
    z = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    KD(standardise=True, temperature=2.).distillation(q, z).backward()
    assert 0 < q.grad.norm() < 60


def test_dkd_is_kd_in_two_parts():
    """KD = target + (1 - the parent's probability of the target) x nontarget
    (equation 7 of the paper), for one image."""
    torch.manual_seed(0)
    q, z = torch.randn(2, 1, 5, dtype=torch.float64)
    step = labelled([2])
    dkd, kd = DKD(temperature=1.), KD(temperature=1.)
    other = 1 - z.softmax(1)[0, 2]
    close(
        dkd.target(q, z, 0, step) + other * dkd.nontarget(q, z, 0, step),
        kd.distillation(q, z),
        rtol=1e-9)


def test_dkd_with_a_certain_parent_is_finite():
    q, z = torch.zeros(1, 3), torch.tensor([[200., 0., 0.]])
    q.requires_grad_()
    dkd = DKD(temperature=1.)
    loss = sum(
        getattr(dkd, term)(q, z, 0, labelled([0]))
        for term in ('target', 'nontarget'))
    loss.backward()
    assert loss.isfinite() and q.grad.isfinite().all()


@pytest.mark.parametrize('method', [KD, DKD])
def test_a_parent_that_rules_classes_out(method):
    """By logits of -inf: what has no probability adds nothing."""
    torch.manual_seed(0)
    method, step = method(), labelled(range(4))
    q, z = torch.randn(2, 4, 6)
    least = z.clone()
    z[:, 5], least[:, 5] = -math.inf, -1e4
    for other in q, q.where(z.isfinite(), -math.inf):
        other.requires_grad_()
        for term in (t for t in method.weights if t != 'native'):
            loss = getattr(method, term)(other, z, 0, step)
            if other is q:
                close(loss, getattr(method, term)(q, least, 0, step))
            loss.backward()
            assert loss.isfinite() and other.grad.isfinite().all()


def test_a_parent_that_is_certain_of_single_classes():
    q = torch.randn(2, 2, requires_grad=True)
    z = torch.tensor([[math.inf, 1.], [-math.inf, 0.]])
    loss = independent_divergence(q, z)
    close(loss, independent_divergence(q, z.clamp(-1e4, 1e4)))
    loss.backward()
    assert q.grad.isfinite().all()


def test_dkd_refuses_mixed_labels():
    step = labelled([0, 1])
    step.data_samples[0].set_gt_score(torch.rand(5))
    with pytest.raises(ValueError, match='mixup'):
        DKD().target(torch.rand(2, 5), torch.rand(2, 5), 0, step)


def test_dist_wants_correlation_only():
    z = torch.randn(8, 5)
    method = DIST(temperature=1.)
    q = (3 * z.softmax(1)).log()  # the same probabilities
    assert method.inter(q, z).abs() < 1e-6
    assert method.intra(q, z).abs() < 1e-6
    # Opposite probabilities: correlation -1, so 1 - (-1).
    q, z = torch.tensor([[.5, .3, .2]]).log(), torch.tensor([[1., 3., 4.]])
    close(method.inter(q, (z / 8).log()), torch.tensor(2.))


@pytest.mark.parametrize('term', ['inter', 'intra'])
@pytest.mark.parametrize('spread', [0., 1e-6])
def test_dist_of_a_head_that_begins_with_zero(term, spread):
    """The gradient is bounded, so that the first step ruins nothing."""
    torch.manual_seed(0)
    q = (spread * torch.randn(16, 10)).requires_grad_()
    getattr(DIST(), term)(q, 3 * torch.randn(16, 10)).backward()
    assert 1 < q.grad.norm() < 20


@pytest.mark.parametrize('dim', [0, 1])
def test_dist_of_ordinary_logits_is_pearsons(dim):
    torch.manual_seed(0)
    q, z = (torch.randn(2, 16, 10) / 4).softmax(2)
    rows = (q, z) if dim == 1 else (q.T, z.T)
    expected = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*rows)]
    close(correlation(q, z, dim), torch.stack(expected))


def test_dist_compares_no_two_values():
    """Whose correlation is 1 or -1, with a gradient near a tie alone."""
    method = DIST()
    q = torch.tensor([[0., 1e-4], [1., 2.], [3., 3.]], requires_grad=True)
    z = torch.tensor([[3., 0.], [0., 1.], [1., 0.]])
    for loss in method.inter(q, z), method.intra(q[:2], z[:2]):
        loss.backward()
        assert loss == 0 and not q.grad.any()
    method.intra(q, z).backward()
    assert q.grad.any()


def test_dense_logits_are_rows():
    method = KD()
    q, z = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 6, 6)
    step = features_of(q, z)
    site = Site('c', 'p', Layout.of(q.shape, (24, 24)),
                Layout.of(z.shape, (24, 24)))
    rows_q, rows_z = method.pair(step, site)
    assert rows_q.shape == rows_z.shape == (2 * 6 * 6, 4)
    assert torch.equal(rows_z[0], z[0, :, 0, 0])
    assert torch.equal(rows_z[1], z[0, :, 0, 1])


@pytest.mark.parametrize('child, parent', [(4, 8), (8, 4), (7, 14)])
def test_sizes_as_the_public_codes_have_them(child, parent):
    """RepDistiller and mdistiller pool the larger map of AT, NST and VID, and
    no map of SP."""
    torch.manual_seed(0)
    q, z = torch.rand(2, 6, child, child), torch.rand(2, 9, parent, parent)
    smaller = [F.adaptive_avg_pool2d(f, min(child, parent)) for f in (q, z)]
    for method, expected in ((AT, smaller), (NST, smaller), (VID, smaller),
                             (SP, (q, z))):
        method = connected(method(), (q.shape, z.shape))
        pair = method.pair(features_of(q, z), method.sites[0])
        assert all(map(torch.equal, pair, expected))
        method.distillation(*method.adapt(*pair, 0, None), 0)


@pytest.mark.parametrize('method', [AT, NST, CWD])
def test_one_position_is_refused(method):
    with pytest.raises(ValueError, match='one position.*constant'):
        connected(method(), ((2, 4, 1, 1), (2, 6, 4, 4)))


@pytest.mark.parametrize('method', [FitNet, AT, NST, VID, MGD, CWD, OFD])
def test_other_sizes_and_widths(method):
    method = connected(method(), ((2, 4, 8, 8), (2, 6, 4, 4)))
    q, z = torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(2, 6, 4, 4)
    step = features_of(q, z)
    assert method.pair(step, method.sites[0])[0].shape == (2, 4, 4, 4)
    pair, = method.pairs(step)
    loss = method.distillation(*pair, 0, step)
    loss.backward()
    assert loss.isfinite() and q.grad.abs().sum() > 0


def test_tokens_are_folded_into_maps():
    method = connected(AT(), ((2, 4, 8, 8), (2, 17, 6)))
    z = torch.randn(2, 17, 6)
    step = features_of(torch.randn(2, 4, 8, 8), z)
    q, folded = method.pair(step, method.sites[0])
    assert q.shape == (2, 4, 4, 4)
    assert torch.equal(folded[1, :, 1, 2], z[1, 1 + 4 + 2])


def test_a_pooled_vector_has_no_map():
    with pytest.raises(ValueError, match='pooled.*AT cannot.*before pooling'):
        connected(AT(), ((2, 4), (2, 6, 4, 4)))


def test_at_power():
    q = torch.tensor([[[[3.]], [[4.]]]])  # one position: attention 1
    z = torch.rand(1, 5, 1, 1)
    assert AT(power=1.).distillation(q, z) == 0
    q = torch.tensor([[[[3., 4.]]]])
    z = torch.tensor([[[[1., 0.]]]])
    # (0.6, 0.8) against (1, 0)
    close(AT(power=1.).distillation(q, z), torch.tensor((.16 + .64) / 2))


def test_at_power_of_zeros():
    """ReLUs leave them, and below 1 their power has no gradient."""
    q = torch.tensor([[[[0., 2., 0., 1.]]]], requires_grad=True)
    AT(power=1.).distillation(q, torch.rand(1, 5, 1, 4)).backward()
    assert q.grad.isfinite().all()
    with pytest.raises(ValueError, match='AT: power must be.*from 1 on'):
        AT(power=.5)


def test_vid_by_hand():
    vid = connected(VID(start=5.), ((2, 3, 1, 1), (2, 3, 1, 1)))
    adapter = vid.adapters[0]
    close(adapter.variance, torch.full((3, ), 5.))
    adapter.mean = nn.Identity()
    q, z = torch.zeros(2, 3, 1, 1), torch.full((2, 3, 1, 1), 2.)
    q, z = vid.adapt(q, z, 0, None)
    close(vid.distillation(q, z, 0), torch.tensor(.5 * (4 / 5 + math.log(5.))))
    assert {n for n, _ in VID.named_parameters(vid)} >= {'adapters.0.scale'}


@pytest.mark.parametrize('method, term, case', [
    (RKD, 'angle', 'tie'),
    (RKD, 'distance', 'tie'),
    (SP, 'distillation', 'zero'),
    (PKT, 'distillation', 'zero'),
    (partial(CC, kernel='gaussian'), 'distillation', 'zero'),
])
def test_images_next_to_nothing(method, term, case):
    """A feature of 0, or two that are equal, have an ordinary gradient."""
    torch.manual_seed(0)
    q, z = torch.randn(16, 8), torch.randn(16, 8)
    norms = []
    for index, value in ((0, q[0]), (1, q[0] if case == 'tie' else 0.)):
        q = q.detach().clone()
        q[index] = value
        q.requires_grad_()
        getattr(method(), term)(q, z).backward()
        norms.append(q.grad.norm())
    assert norms[1] < 20 * norms[0]


def test_images_that_only_the_parent_tells_apart_by_rounding():
    torch.manual_seed(0)
    z = torch.randn(8, 16)
    z[1] = z[0]
    expected = angles(z)
    z[1] *= 1 + 1e-6
    torch.testing.assert_close(angles(z), expected, rtol=0, atol=1e-3)


def test_distances_of_features_with_a_large_mean():
    torch.manual_seed(0)
    vectors = 1 + 0.01 * torch.randn(64, 384)
    exact = vectors.double()
    exact = (exact[:, None] - exact).norm(dim=2)
    exact = (exact / exact[exact > 0].mean()).float()
    torch.testing.assert_close(distances(vectors), exact, rtol=0, atol=1e-5)


def test_cc_kernels():
    q, z = torch.randn(4, 3), torch.randn(4, 5)
    method = connected(CC(), ((4, 3), (4, 5)))
    adapter = method.adapters[0]
    e = (adapter.child(q) - adapter.parent(z)).abs()
    expected = sum((e[i] * e[i + 1]).sum() for i in range(3)) / 3
    close(method.distillation(*method.adapt(q, z, 0, None)), expected)

    bilinear = connected(CC(kernel='bilinear'), ((4, 3), (4, 5)))
    assert not list(bilinear.adapters.parameters())
    n, m = F.normalize(q, dim=1), F.normalize(z, dim=1)
    close(
        bilinear.distillation(*bilinear.adapt(q, z, 0, None)),
        (n @ n.T - m @ m.T).pow(2).sum() / 16)
    # With enough terms the Taylor series is the kernel itself.
    gaussian = CC(kernel='gaussian', gamma=.4, order=12)
    close(gaussian._matrix(q), torch.exp(-.4 * torch.cdist(n, n)**2))
    with pytest.raises(ValueError, match='gaussian'):
        CC(kernel='gausian')


def test_mgd_masks():
    z = torch.randn(2, 3, 8, 8)
    for over, shape in dict(
            positions=(2, 1, 8, 8), channels=(2, 3, 1, 1)).items():
        method = MGD(mask=.5, mask_over=over)
        kept = method._keep(torch.ones(2, 3, 8, 8))
        assert set(kept.unique().tolist()) <= {0., 1.}
        one = kept[tuple(slice(None, n) for n in shape)]
        assert torch.equal(kept, one.expand_as(kept))
    method = connected(MGD(mask=0.), (z.shape, z.shape))
    method.adapters[0].generate = nn.Identity()
    q = torch.randn_like(z)
    close(
        method.distillation(*method.adapt(q, z, 0, None)),
        (q - z).pow(2).sum() / 2)
    with pytest.raises(ValueError, match='positions'):
        MGD(mask_over='position')
    with pytest.raises(ValueError, match='mask must be a number'):
        MGD(mask=1.)


def test_ofd_by_hand():
    # Counts: parent positive; parent negative, child above; not the last.
    q = torch.tensor([1., 0., -3.]).view(1, 3, 1, 1)
    z = torch.tensor([2., -1., -1.]).view(1, 3, 1, 1)
    close(partial_distance(q, z), torch.tensor(1. + 1.))

    site = Site('c', 'p', Layout('map', 1, (1, 2)), Layout('map', 1, (1, 2)))
    connector = Connector(site)
    z = torch.tensor([[[[-1., 4.]]], [[[-3., 0.]]]])
    _, cut = connector(torch.zeros(2, 1, 1, 2), z)
    assert cut.flatten().tolist() == [-1, 4, -2, 0]  # margin (-1 - 3) / 2
    _, cut = connector(torch.zeros(2, 1, 1, 2), 2 * z)
    # All negative responses so far: -1, -3, -2, -6.
    assert cut.flatten().tolist() == [-2, 8, -3, 0]


def test_ofd_stages_count_by_halves():
    shapes = ((2, 3, 4, 4), (2, 3, 4, 4))
    ofd = connected(OFD(), shapes, shapes, shapes)
    for adapter in ofd.adapters:
        adapter.connect = nn.Identity()
    q, z = torch.rand(2, 2, 3, 4, 4)
    losses = [ofd.distillation(*ofd.adapt(q, z, i, None), i) for i in range(3)]
    close(losses[1], 2 * losses[0])
    close(losses[2], 4 * losses[0])


def test_ofd_and_review_read_before_the_activation(tmp_path):
    model = prepared(digits_config(tmp_path, 'mmhkt.OFD'))
    names = [site.child for site in model.methods[0].sites]
    assert names == [f'backbone.layer{i}.0.relu2@in' for i in (1, 2, 3)]
    model = prepared(digits_config(tmp_path, 'mmhkt.ReviewKD'))
    sites = model.methods[0].sites
    assert [s.child for s in sites] == [
        'backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'neck'
    ]
    assert [s.parent for s in sites] == [
        *(f'backbone.layer{i}.2.relu2@in' for i in (1, 2, 3)), 'neck'
    ]


def test_review_fuses_from_the_deepest():
    shapes = (((2, 3, 8, 8), (2, 4, 8, 8)), ((2, 5, 4, 4), (2, 6, 4, 4)),
              ((2, 5), (2, 7)))
    review = connected(ReviewKD(), *shapes)
    assert [a.attention is None
            for a in review.adapters] == [False, False, True]
    # As wide as the child's last feature.
    assert all(a.reduce[0].out_channels == 5 for a in review.adapters)
    q = {
        f'c{i}': torch.randn(c, requires_grad=True)
        for i, (c, _) in enumerate(shapes)
    }
    step = features_of(
        list(q.values()), [torch.randn(parent) for _, parent in shapes])
    pairs = review.pairs(step)
    assert [tuple(f.shape) for f, _ in pairs] == [(2, 4, 8, 8), (2, 6, 4, 4),
                                                  (2, 7, 1, 1)]
    # The first stage's loss reaches the deeper features, the last one's
    # only its own.
    pairs[0][0].sum().backward(retain_graph=True)
    assert all(f.grad is not None for f in q.values())
    for feature in q.values():
        feature.grad = None
    pairs[2][0].sum().backward()
    assert [f.grad is None for f in q.values()] == [True, True, False]


def test_fusion_by_hand():
    site = Site('c', 'p', Layout('map', 2, (4, 4)), Layout('map', 3, (4, 4)))
    fusion = Fusion(site, 2, fuse=True)
    fusion.reduce = nn.Identity()
    # Attention 1/2 for both.
    nn.init.zeros_(fusion.attention[0].weight)
    nn.init.zeros_(fusion.attention[0].bias)
    q, deeper = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 2, 2)
    _, fused = fusion(q, deeper)
    nearest = deeper.repeat_interleave(2, 2).repeat_interleave(2, 3)
    close(fused, (q + nearest) / 2)


def test_hierarchical_context_levels():
    q, z = torch.randn(2, 1, 3, 1, 1)
    close(hierarchical_context(q, z), F.mse_loss(q, z))
    q, z = torch.randn(2, 1, 3, 2, 2)
    expected = F.mse_loss(q,
                          z) + .5 * F.mse_loss(q.mean((2, 3)), z.mean((2, 3)))
    close(hierarchical_context(q, z), expected / 1.5)


def contrast(labels, width=6, dim=8):
    torch.manual_seed(0)
    site = Site('c', 'p', Layout('vector', width), Layout('vector', width))
    return Contrast(site, dim, torch.tensor(labels), .07, .5)


@pytest.mark.parametrize(
    'labels',
    [
        [2, 0, 1, 0, 2, 2, 0],
        # Of one class most, so that few are left.
        [1, 1, 1, 1, 0, 1, 2, 1, 0],
        [0, 1]
    ])
def test_crd_draws_other_classes(labels):
    labels = torch.tensor(labels)
    torch.manual_seed(0)
    module = contrast(labels.tolist())
    images = torch.arange(len(labels))
    drawn, chosen = module._draw(images, 3000)
    assert len(drawn) < 3 * 3000
    assert (chosen.sum(1) == 3000).all()
    for i in images:
        of_image = drawn[chosen[i]]
        others = (labels != labels[i]).nonzero().flatten().tolist()
        seen, counts = of_image.unique(return_counts=True)
        assert seen.tolist() == others
        assert (counts / 3000 - 1 / len(others)).abs().max() < .05


def test_crd_draws_little_more_than_it_needs():
    module = contrast(list(range(1000)) * 3)
    drawn, chosen = module._draw(torch.arange(64), 16384)
    assert len(drawn) < 1.01 * 16384 and (chosen.sum(1) == 16384).all()


def test_crd_by_hand():
    module = contrast([0, 0, 1, 1])
    before = module.child_memory.float(), module.parent_memory.float()
    q, z = torch.randn(2, 2, 6)
    images = torch.tensor([1, 2])
    drawn = torch.tensor([[3, 2, 3], [0, 1, 1]])
    chosen = torch.eye(2).repeat_interleave(3, dim=1).bool()
    module._draw = lambda images, count: (drawn.flatten(), chosen)
    loss = module.contrast(*module(q, z), images, 3)

    q = F.normalize(module.child(q), dim=1)
    z = F.normalize(module.parent(z), dim=1)
    expected = 0
    for vectors, memory in ((q, before[1]), (z, before[0])):
        ratio = torch.stack([
            torch.stack([math.e**(v @ memory[j] / .07) for j in [i, *others]])
            for v, i, others in zip(vectors, images.tolist(), drawn.tolist())
        ])
        p = ratio / (ratio.mean() * 4)
        noise = 3 / 4
        for row in p:
            expected = expected - (row[0] / (row[0] + noise)).log()
            expected = expected - (noise / (row[1:] + noise)).log().sum()
    close(loss, expected / 2, rtol=1e-3)
    for memory, old, vectors in ((module.child_memory, before[0], q),
                                 (module.parent_memory, before[1], z)):
        memory = memory.float()
        assert torch.equal(memory[[0, 3]], old[[0, 3]])
        close(memory[images], F.normalize(old[images] + vectors, dim=1), 1e-3)
    # Fixed by the first batch.
    normalisers = module.normalisers.clone()
    module.contrast(*torch.randn(2, 2, 8), images, 3)
    assert torch.equal(module.normalisers, normalisers)


@pytest.mark.parametrize('images', [[1, 2, 5], [1, 2, 1, 5, 2, 1], [4] * 5])
def test_crd_remembers_in_any_order(images):
    """Which of two vectors of one image is written last is left open, and so
    their mean is, whatever the order of the batch."""
    module = contrast([0, 0, 1, 1, 0, 1])
    images = torch.tensor(images)
    vectors = F.normalize(torch.randn(2, len(images), 8), dim=2)
    before = module.child_memory.clone(), module.parent_memory.clone()
    module._remember(*vectors, images)
    for memory, old, own in zip((module.child_memory, module.parent_memory),
                                before, vectors):
        for i in range(6):
            expected = old[i]
            if i in images:
                expected = F.normalize(
                    old[i] + own[images == i].mean(0), dim=0).half()
            torch.testing.assert_close(memory[i], expected)
    after = module.child_memory.clone(), module.parent_memory.clone()
    for seed in range(20):
        order = torch.randperm(
            len(images), generator=torch.Generator().manual_seed(seed))
        module.child_memory.copy_(before[0])
        module.parent_memory.copy_(before[1])
        module._remember(*vectors[:, order], images[order])
        assert torch.equal(module.child_memory, after[0])
        assert torch.equal(module.parent_memory, after[1])


def test_crd_gives_an_image_one_vector():
    torch.manual_seed(0)
    images = torch.randint(0, 40, (200, ))
    vectors = torch.randn(200, 128)
    means = mean_of_each(images, vectors)
    for i in images.unique():
        rows = means[images == i]
        assert torch.equal(rows, rows[:1].expand_as(rows))
        torch.testing.assert_close(rows[0], vectors[images == i].mean(0))
    # To the bit where an image is there once.
    assert torch.equal(mean_of_each(torch.randperm(200), vectors), vectors)


def test_crd_numbers_images_of_the_training_set(tmp_path):
    cfg = digits_config(tmp_path, dict(type='mmhkt.CRD', negatives=32))
    model = prepared(cfg)
    assert model.methods[0].adapters[0].child_memory.shape == (256, 128)
    names = set(model.transfer_state_dict())
    assert any(name.endswith('child_memory') for name in names)
    # What follows from the labels is not saved.
    assert not any(name.endswith('order') for name in names)


def test_crd_needs_labels():
    with pytest.raises(ValueError, match='numbers its images.*list'):
        CRD().survey([])
    with pytest.raises(ValueError, match='several classes'):
        CRD().survey(SimpleNamespace(get_gt_labels=lambda: np.zeros(5, int)))


PROCESSES = """
import sys, torch, torch.distributed as dist
from mmhkt.inheritance import Layout, Site
from mmhkt.methods.crd import Contrast, mean_of_each
from mmhkt.methods.ofd import Connector

dist.init_process_group('gloo')
rank = dist.get_rank()
torch.manual_seed(0)
site = Site('c', 'p', Layout('map', 6, (1, 1)), Layout('map', 6, (1, 1)))
labels = torch.arange(12) % 3
contrast = Contrast(site, 8, labels, .07, .5)
connector = Connector(site)
q, z = torch.randn(2, 8, 6)
half = slice(4 * rank, 4 * rank + 4)
contrast.contrast(
    *contrast(q[half], z[half]), torch.arange(8)[half] % 5, 16)
connector(q[half, :, None, None], z[half, :, None, None])
torch.save({**contrast.state_dict(), 'negative': connector.negative},
           f'{sys.argv[1]}/{rank}.pth')
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_what_is_remembered_is_the_same_in_all_processes(tmp_path):
    script = tmp_path / 'processes.py'
    script.write_text(PROCESSES)
    subprocess.run([
        sys.executable, '-m', 'torch.distributed.run', '--standalone',
        '--nproc_per_node=2',
        str(script),
        str(tmp_path)
    ],
                   check=True,
                   env={
                       **os.environ, 'OMP_NUM_THREADS': '1'
                   })
    states = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    for name in states[0]:
        assert torch.equal(states[0][name], states[1][name]), name

    # And as if one process had seen the whole batch.
    torch.manual_seed(0)
    site = Site('c', 'p', Layout('map', 6, (1, 1)), Layout('map', 6, (1, 1)))
    single = Contrast(site, 8, torch.arange(12) % 3, .07, .5)
    connector = Connector(site)
    q, z = torch.randn(2, 8, 6)
    single.contrast(*single(q, z), torch.arange(8) % 5, 16)
    connector(q[:, :, None, None], z[:, :, None, None])
    for name in ('child_memory', 'parent_memory'):
        close(states[0][name], getattr(single, name), rtol=1e-3)
    close(states[0]['negative'], connector.negative, rtol=1e-5)


def test_other_classes_of_the_parent(tmp_path):
    parent = dict(
        config=dict(model=_classifier(classes=7)), random_weights=True)
    for method in ('KD', 'DKD', 'DIST'):
        with pytest.raises(ValueError, match=f'7 classes.*10.*{method}'):
            prepared(digits_config(tmp_path, f'mmhkt.{method}', parent))
    # Features may still be compared.
    prepared(digits_config(tmp_path, 'mmhkt.AT', parent))


def test_other_classes_of_a_segmentor():
    """As many, of other names: CWD compares them channel by channel too."""
    cfg = Config(dict(model=tiny_model(), default_scope='mmseg'))

    def connect(method, classes):
        child = build_network(cfg)
        parent = Parent(config=cfg, random_weights=True, classes=classes)
        parent.connect(child, ImageFormat.of(child, cfg))
        images = torch.rand(2, 3, 64, 64)
        Inheritance(child, parent, [method], images, classes=list('abcd'))

    for method in KD(), CWD():
        with pytest.raises(ValueError, match='"a" is none of these'):
            connect(method, list('efgh'))
    # In another order they are matched, and features need no names.
    connect(CWD(), list('dcba'))
    connect(CWD(sites='last'), list('efgh'))


def _classifier(classes):
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='mmhkt.CIFARResNet', depth=8),
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(
            type='mmpretrain.LinearClsHead',
            in_channels=64,
            num_classes=classes))


@pytest.mark.parametrize('temperature', [0, -1.])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match='KD: temperature must'):
        KD(temperature=temperature)


def test_losses_are_float32_under_autocast(tmp_path):
    model = prepared(digits_config(tmp_path, 'mmhkt.SP'))
    seen = []
    method = model.methods[0]
    compare = method.distillation
    method.distillation = lambda q, z, *args: seen.append(
        (q.dtype, z.dtype)) or compare(q, z, *args)
    with model.tapped(), torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model(
            torch.randn(4, 3, 32, 32),
            labelled([0, 1, 2, 3]).data_samples,
            mode='loss')
    assert seen == [(torch.float32, torch.float32)]
    assert losses['sp.distillation.loss'].dtype == torch.float32


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', ALL)
def test_mixed_precision(name, dtype):
    """What is learned runs in half precision, the losses in float32."""
    method = distiller(name)
    layers, terms = [], []
    for module in method.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(
                lambda module, args, output: layers.append(output.dtype))
    for term in (term for term in method.weights if term != 'native'):

        def seen(q, z, *args, loss=getattr(method, term)):
            terms.extend([q.dtype, z.dtype, torch.is_autocast_enabled('cpu')])
            return loss(q, z, *args)

        setattr(method, term, seen)
    # Sums of squares beyond what float16 holds.
    step = step_of(method, range(4), scale=30.)
    with torch.autocast('cpu', dtype=dtype):
        loss = loss_of(method, step)
    loss.backward()
    assert set(layers) <= {dtype}
    assert bool(layers) == any(p.dim() > 1 for p in method.parameters())
    assert set(terms) == {torch.float32, False}
    assert loss.dtype == torch.float32 and loss.isfinite()
    for key, state in method.state_dict().items():
        # CRD's memory is half as large, whatever it is trained in.
        assert 'memory' in key or state.dtype not in (torch.float16,
                                                      torch.bfloat16)


@pytest.mark.parametrize('name', ALL)
def test_adapters_once_in_the_losses(name):
    """Each is run once a step, and as in :meth:`adapt`."""
    method = distiller(name)
    runs = []
    for adapter in method.adapters:
        adapter.register_forward_hook(
            lambda module, args, output: runs.append(module))
    loss_of(method, step_of(method, range(4)))
    assert len(runs) in (0, len(method.adapters))
    assert len(set(runs)) == len(runs)


@pytest.mark.parametrize('name', ALL)
def test_what_a_method_sees_is_the_tapes(name):
    """Of which pass a feature is, the method's base decides."""
    method = distiller(name, sees='mixture')
    assert method.sees == 'mixture'
    step, asked = step_of(method, range(4)), []
    method.child_feature = lambda _, site: asked.append(site) or step.q[site]
    step.child_feature = None
    loss_of(method, step)
    assert sorted(asked) == sorted(step.q)


def test_a_list_with_hkt_changes_nothing_else(tmp_path):
    """The native loss enters once, with the first method's weight."""
    images, samples = torch.randn(4, 3, 32,
                                  32), labelled(range(4)).data_samples
    losses = {}
    for name, method in dict(
            hkt='mmhkt.HKT',
            both=[dict(type='mmhkt.HKT'),
                  dict(type='mmhkt.KD')]).items():
        model = prepared(digits_config(tmp_path, method))
        model.train()
        with model.tapped():
            losses[name] = model(images, samples, mode='loss')
    extra = losses['both'].keys() - losses['hkt'].keys()
    assert extra == {'kd.distillation.loss'}
    for name, value in losses['hkt'].items():
        assert torch.equal(losses['both'][name], value)


def test_a_term_of_weight_0_is_not_computed(tmp_path):
    model = prepared(
        digits_config(tmp_path, dict(type='mmhkt.RKD', weights=dict(angle=0))))
    model.methods[0].angle = None
    images = torch.randn(4, 3, 32, 32)
    samples = labelled(range(4)).data_samples
    with model.tapped():
        losses = model(images, samples, mode='loss')
    assert 'rkd.distance.loss' in losses
    assert 'rkd.angle.loss' not in losses


def test_classes_that_do_not_exclude_each_other_by_hand():
    """Each class by itself, by torch's own divergence of Bernoullis."""
    torch.manual_seed(0)
    q, z = torch.randn(2, 5, 3)
    bernoulli = torch.distributions.Bernoulli
    expected = torch.distributions.kl_divergence(
        bernoulli(logits=z), bernoulli(logits=q)).sum(1).mean()
    torch.testing.assert_close(independent_divergence(q, z), expected)
    method = KD(temperature=2.0, standardise=True)
    method.independent = True
    torch.testing.assert_close(
        method.distillation(q, z), 4 * independent_divergence(q / 2, z / 2))
    assert method.distillation(q[:, :1], z[:, :1]) > 0
