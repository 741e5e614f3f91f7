# Copyright (c) mmhkt authors. All rights reserved.
"""What a RAFT inherits, against networks run in full with plain hooks."""
from collections import Counter
from contextlib import ExitStack

import pytest
import torch
from helpers import CONFIGS

from mmhkt.methods import FitNet, FlowImitation, GatedHKT
from mmhkt.models import ImageFormat, Inheritance, Parent, build_network
from mmhkt.structures import FlowDataSample
from mmhkt.utils.config import load_config

SIZE = (32, 48)
FEATURES = 'raft.feature_encoder'
HIDDEN = 'raft.context_encoder.parts.hidden'
CONTEXT = 'raft.context_encoder.parts.context'
LOOP = 'raft.update_block.recurrent_block'


def network(size, iters_train=3):
    cfg = load_config(CONFIGS / f'alone/raft-reduced-{size}_synthetic.py')
    cfg.model.iters_train = iters_train
    return cfg


def model_with(method, parent=None):
    torch.manual_seed(0)
    child = build_network(network('small'))
    child.init_weights()
    parent = Parent((parent or network('large', iters_train=5)),
                    random_weights=True)
    parent.connect(child, ImageFormat.of(child, order='rgb'))
    return Inheritance(child, parent, [method], torch.rand(1, 6, *SIZE))


@pytest.fixture
def batch():
    torch.manual_seed(1)
    samples = []
    for _ in range(2):
        sample = FlowDataSample()
        sample.gt_flow = torch.randn(2, *SIZE)
        sample.valid = torch.rand(*SIZE) > 0.3
        samples.append(sample)
    return torch.rand(2, 6, *SIZE) * 2 - 1, samples


def outputs(net, inputs, sites):
    """All outputs of some modules in one forward pass."""
    seen = {site: [] for site in sites}
    with ExitStack() as stack:
        for site in sites:
            handle = net.get_submodule(site).register_forward_hook(
                lambda m, a, out, site=site: seen[site].append(out))
            stack.callback(handle.remove)
        net(inputs)
    return seen


def flows_with(net, inputs, replace):
    """Flows where modules return something else: site -> function of the
    output and the number of the call."""
    with ExitStack() as stack:
        for site, function in replace.items():
            calls = Counter()

            def hook(module, args, output, function=function, calls=calls):
                calls['n'] += 1
                return function(output, calls['n'] - 1)

            handle = net.get_submodule(site).register_forward_hook(hook)
            stack.callback(handle.remove)
        return net(inputs)


def loss_of(model, flows, samples):
    flow = torch.stack([s.gt_flow for s in samples])
    valid = torch.stack([s.valid for s in samples])
    return model.child.criterion(flows, flow, valid)


@pytest.mark.parametrize('sites, names', [
    ('head', [FEATURES, HIDDEN, CONTEXT]),
    ('2hkt', [FEATURES, HIDDEN, CONTEXT]),
    ('3hkt', [FEATURES, HIDDEN, CONTEXT, LOOP]),
    ([dict(child=LOOP, parent=LOOP)], [LOOP]),
    ([dict(child=HIDDEN, parent=HIDDEN)], [HIDDEN]),
])
def test_losses_are_those_of_networks_run_in_full(batch, sites, names):
    inputs, samples = batch
    weights = dict(native=1, inherited=1, parent_head=1)
    model = model_with(GatedHKT(sites=sites, weights=weights))
    method = model.methods[0]
    assert [site.child for site in method.sites] == names
    with model.tapped():
        found = model.loss(inputs, samples)

    net, parent = model.child, model.parent.network
    with torch.no_grad():
        z = outputs(parent, inputs, names)
        native = loss_of(model, net(inputs), samples)
        mixed = {name: [] for name in names}

        def mixer(i, name):

            def mix(q, call):
                mixed[name].append(method.mixtures[i](q, z[name][call])[0])
                return mixed[name][-1]

            return mix

        inherited = flows_with(net, inputs, {
            n: mixer(i, n)
            for i, n in enumerate(names)
        })
        # With the hidden state given, nothing before it matters.
        judged = [LOOP] if LOOP in names else names
        assert [names[i] for i in method.judged_sites] == judged
        back = {
            name: [
                method.mixtures[names.index(name)].in_parent(m, z)
                for m, z in zip(mixed[name], z[name])
            ]
            for name in judged
        }
        by_parent = flows_with(parent, inputs, {
            n: lambda _, call, n=n: back[n][call]
            for n in judged
        })
    for term, value in (('native', native), ('gatedhkt.inherited',
                                             loss_of(model, inherited,
                                                     samples)),
                        ('gatedhkt.parent_head',
                         loss_of(model, by_parent, samples))):
        assert found[f'{term}.loss'].item() == pytest.approx(
            value.item(), rel=1e-5), term
    assert len({
        round(found[f'{t}.loss'].item(), 4)
        for t in ('native', 'gatedhkt.inherited', 'gatedhkt.parent_head')
    }) == 3


@pytest.mark.parametrize('sites', ['2hkt', '3hkt'])
def test_one_forward_of_parent_and_child(batch, sites):
    model = model_with(GatedHKT(sites=sites))
    runs = Counter()
    for role, net in (('child', model.child), ('parent',
                                               model.parent.network)):
        for name in ('feature_encoder', 'context_encoder'):
            # Inside the encoder: its own call may be answered by the record.
            block = net.get_submodule(f'raft.{name}.layer1.0')
            block.register_forward_hook(lambda *_, key=
                                        (role, name): runs.update([key]))
    with model.tapped():
        losses = model.loss(*batch)
    model.parse_losses(losses)[0].backward()
    assert len(runs) == 4 and set(runs.values()) == {1}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert all(p.grad is None for p in model.parent.parameters())


def test_parent_makes_as_many_updates_as_the_child(batch):
    model = model_with(GatedHKT(sites='3hkt'))
    assert model.parent.network.iters_train == 3
    assert model.methods[0].calls == [1, 1, 1, 3]


def test_a_loop_beside_no_loop():
    with pytest.raises(ValueError, match='runs 3 times.*1 times.*as many'):
        model_with(GatedHKT(sites=[dict(child=LOOP, parent=FEATURES)]))


def test_unknown_preset_names_those_of_flow():
    with pytest.raises(ValueError, match='"3hkd" is unknown; nearest: 3hkt'):
        model_with(GatedHKT(sites='3hkd'))


def test_encoders_are_compared_at_their_stages(batch):
    model = model_with(FitNet(sites='stages'))
    assert [site.child for site in model.methods[0].sites
            ] == [f'{FEATURES}.layer{i}' for i in (1, 2, 3)]
    # Both frames in one batch.
    with model.tapped():
        losses = model.loss(*batch)
    assert losses['fitnet.distillation.loss'] > 0


def test_channels_of_both_frames_are_reversed():
    cfg = network('large')
    parent = Parent(cfg, random_weights=True, channel_order='bgr')
    child = build_network(network('small'))
    parent.connect(child, ImageFormat.of(child, order='rgb'))
    images = torch.arange(6.).view(1, 6, 1, 1)
    assert parent.images(images).flatten().tolist() == [2, 1, 0, 5, 4, 3]


@pytest.mark.parametrize('norm', ['epe', 'l1'])
def test_imitation_by_hand(batch, norm):
    inputs, samples = batch
    model = model_with(FlowImitation(norm=norm, gamma=0.5))
    with model.tapped():
        losses = model.loss(inputs, samples)
    found = losses['flowimitation.distillation.loss']
    with torch.no_grad():
        q, z = model.child(inputs), model.parent.network(inputs)
    expected = 0.
    for i, weight in enumerate((0.25, 0.5, 1.)):
        d = (q[i] - z[i]).numpy()
        errors = (d**2).sum(1)**0.5 if norm == 'epe' else abs(d)
        expected += weight * errors.mean()
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('settings, match', [
    (dict(norm='l2'), 'norm "l2" is unknown'),
    (dict(gamma=0.), 'gamma must be a number above 0'),
])
def test_imitation_refuses(settings, match):
    with pytest.raises(ValueError, match=match):
        FlowImitation(**settings)
