# Copyright (c) mmhkt authors. All rights reserved.
"""What a search for faults in the engine found."""
import io

import pytest
import torch
import torch.nn.functional as F
from helpers import cut_off, digits_config, prepared, read, run, same
from method_helpers import IMAGES, losses_of, stages_model
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmhkt.inheritance import Dissection, Extraction
from mmhkt.inheritance.checkpointing import watched_checkpoints
from mmhkt.methods import HKT, KD, GatedHKT, LePoKet
from mmhkt.registry import RUNNERS


class Listed(nn.Module):
    """Writes into the list that a module before it returned."""

    def __init__(self):
        super().__init__()
        self.fork = Fork()
        self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        x = self.fork(x)
        x[0] = self.left(x[0])
        x[1] = self.right(x[1])
        return self.out(x[0] + x[1])


class Fork(nn.Module):

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return [self.one(x), self.two(x)]


class Added(nn.Module):
    """Adds in place to what a Sequential, and so its last layer, returned."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.other = nn.Linear(4, 4)
        self.site = nn.Linear(4, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        y = self.branch(x)
        y += self.other(x)
        return self.out(y + self.site(x))


class Activated(nn.Module):
    """Overwrites what a module returned by a function, between modules."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.site, self.out = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        y = F.relu(self.one(x), inplace=True)
        y = self.two(y)
        return self.out(self.site(y))


@pytest.mark.parametrize('make, site', [(Listed, 'left'), (Listed, 'right'),
                                        (Added, 'site'), (Activated, 'site'),
                                        (Listed, 'out'), (Added, 'out')])
def test_a_second_pass_takes_nothing_that_was_overwritten(make, site):
    torch.manual_seed(0)
    net, x = make(), torch.rand(3, 4)
    extraction = Extraction(net, Dissection(net, x, 'child'), None, 'out')
    extraction.want([site], rerun=True)
    with extraction.tapped():
        with extraction.record():
            own = net(x)
        with extraction.rerun({site: lambda q: q}):
            again = net(x)
    assert torch.equal(own, again)
    (own.sum() + again.sum()).backward()


class Region(nn.Module):
    """A region that writes to a mixture, and draws random numbers."""

    def __init__(self):
        super().__init__()
        self.site, self.out = nn.Linear(4, 4), nn.Linear(4, 4)

    def inside(self, x):
        y = self.site(x)
        y += x
        return self.out(F.dropout(y.tanh(), 0.5)).tanh()

    def forward(self, x, checkpoints):
        if checkpoints:
            return checkpoint(self.inside, x, use_reentrant=False)
        return self.inside(x)


def test_a_region_that_overwrites_a_random_mixture():
    """Twice, since a region may have several backward passes."""
    found = []
    for checkpoints in (False, True):
        torch.manual_seed(0)
        net, x = Region(), torch.rand(3, 4, requires_grad=True)
        net.forward = (lambda forward: lambda x: forward(x, checkpoints))(
            net.forward)
        extraction = Extraction(net, Dissection(net, x, 'child'), None, 'out')
        extraction.want(['out'])
        extraction.want(['site'])

        def mix(q):
            return q + torch.rand_like(q) * q

        with extraction.tapped(), watched_checkpoints(
            [extraction.tape.regions]):
            torch.manual_seed(1)
            with extraction.record({'site': mix}):
                y = net(x).square().sum()
            for _ in range(2):
                y.backward(retain_graph=True)
        found.append([x.grad, net.site.weight.grad, net.out.weight.grad])
    for plain, again in zip(*found):
        torch.testing.assert_close(plain, again)


def test_a_buffer_that_is_assigned_anew_learns_once():
    """As the bases of mmsegmentation's EMAHead."""

    class Assigns(nn.Module):

        def __init__(self):
            super().__init__()
            self.first, self.out = nn.Linear(4, 4), nn.Linear(4, 2)
            self.register_buffer('mean', torch.zeros(4))

        def forward(self, x):
            x = self.first(x)
            if self.training:
                self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            return self.out(x - self.mean)

    net, x = Assigns(), torch.rand(3, 4)
    extraction = Extraction(net, Dissection(net, x, 'child'), None, 'out')
    extraction.want(['first'], rerun=True)
    with extraction.tapped():
        with extraction.record():
            net(x)
        mean = net.mean.clone()
        with extraction.rerun({'first': lambda q: 2 * q}):
            net(x)
    assert torch.equal(net.mean, mean)


@pytest.mark.parametrize('methods', [(HKT, GatedHKT), (GatedHKT, HKT),
                                     (HKT, LePoKet), (HKT, KD)])
def test_two_methods_of_which_one_is_weaned(methods):
    model = stages_model(*(method() for method in methods)).train()
    hkt = next(m for m in model.methods if type(m) is HKT)
    losses_of(model)
    hkt.turn('intensity', 0.0)
    losses = losses_of(model)
    assert losses[f'{hkt.name}.inherited.loss'].isfinite()


@pytest.mark.parametrize(
    'method',
    [GatedHKT, LePoKet, HKT, lambda **kw: HKT(weights=dict(native=1.), **kw)])
def test_logits_as_a_site(method):
    model = stages_model(method(sites='logits')).train()
    losses = losses_of(model)
    name = model.methods[0].name
    assert losses[f'{name}.inherited.loss'].isfinite()
    assert f'{name}.inherited.accuracy' in losses


def test_the_accuracy_is_that_of_the_mixture():
    """At intensity 1 that of the parent's logits."""
    model = stages_model(HKT(sites='logits')).train()
    accuracy = losses_of(model)['hkt.inherited.accuracy']
    logits = model.parent.network(IMAGES)
    labels = torch.tensor([0, 4, 2])
    expected = (logits.argmax(1) == labels).float().mean() * 100
    assert accuracy.item() == pytest.approx(expected.item())


def test_a_validation_before_a_resumed_training(tmp_path):
    """It loads the child alone; the training loads all the rest."""
    cfg = dict(method='mmhkt.GatedHKT')
    whole = run(digits_config(tmp_path / 'whole', **cfg))
    cut_off(tmp_path / 'whole', tmp_path / 'cut', 'epoch_2.pth')
    runner = RUNNERS.build(digits_config(tmp_path / 'cut', resume=True, **cfg))
    runner.val()
    runner.train()
    assert same(runner.model.state_dict(), whole.model.state_dict())
    assert same(runner.inheritance.transfer_state_dict(),
                whole.inheritance.transfer_state_dict())


def test_a_checkpoint_of_another_version_says_so(tmp_path):
    run(digits_config(tmp_path, **{'train_cfg.max_epochs': 1}))
    file = tmp_path / 'epoch_1.pth'
    checkpoint = read(file)
    del checkpoint['transfer']['format']
    torch.save(checkpoint, file)
    with pytest.raises(ValueError, match='another version of mmhkt.*load_fro'):
        run(digits_config(tmp_path, resume=True))


def test_mmengines_key_of_what_is_compiled(tmp_path):
    cfg = digits_config(tmp_path, 'mmhkt.Alone')
    cfg.compile = dict(backend='eager', target='forward')
    assert prepared(cfg).compile_cfg == dict(backend='eager')


def test_nothing_is_kept_after_an_interruption():
    model = stages_model(HKT())
    model.child.head.loss_module.forward = None  # cannot be called
    with pytest.raises(TypeError):
        losses_of(model)
    tapes = [model._extraction.tape, model.parent.extraction.tape]
    assert all(tape._notes == {} and tape._returned == {} for tape in tapes)
    assert not any('forward' in m.__dict__
                   for m in model.child.backbone.modules())


@pytest.mark.parametrize('compile_cfg', [None, dict(backend='eager')])
def test_a_hook_may_write_the_whole_child_to_a_file(compile_cfg):
    model = stages_model(HKT())
    model.compile_cfg = compile_cfg
    file = io.BytesIO()
    with model.tapped():
        assert any('forward' in m.__dict__ for m in model.child.modules())
        torch.save(model.child, file)
    file.seek(0)
    plain = torch.load(file, weights_only=False).eval()
    assert torch.equal(plain(IMAGES), model.child.eval()(IMAGES))
    assert 'mmhkt.inheritance.tape' not in {
        type(m.__dict__.get('forward')).__module__
        for m in plain.modules()
    }


def test_before_the_activation_of_one_of_several_outputs():
    net, x = Listed(), torch.rand(3, 4)
    dissection = Dissection(net, x, 'child')
    assert dissection.before_activation('fork[0]') == 'fork[0]'
