# Copyright (c) mmhkt authors. All rights reserved.
import copy
from collections import Counter

import pytest
import torch
from torch import nn

from mmhkt.inheritance import Dissection, Extraction
from mmhkt.inheritance.tape import Tap

CALLS = Counter()


class Counted(nn.Module):
    """Counts that its own computation is run."""

    def __init__(self, name, module):
        super().__init__()
        self.name = name
        self.module = module

    def forward(self, x):
        CALLS[self.name] += 1
        return self.module(x)


def block(name, before, after):
    return Counted(
        name,
        nn.Sequential(
            nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after),
            nn.ReLU()))


class Net(nn.Module):
    """Three stages, all returned, of which the head is given the last."""

    def __init__(self):
        super().__init__()
        self.one = block('one', 3, 4)
        self.two = block('two', 4, 4)
        self.three = block('three', 4, 8)
        self.body = Body(self)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = Counted('fc', nn.Linear(8, 10))

    def forward(self, x):
        x = self.pool(self.body(x)[-1]).flatten(1)
        # Called as modules are whose hooks nobody shall see.
        return self.fc.forward(x)


class Body(nn.Module):

    def __init__(self, net):
        super().__init__()
        self.blocks = [net.one, net.two, net.three]

    def forward(self, x):
        outs = []
        for stage in self.blocks:
            x = stage(x)
            outs.append(x)
        return tuple(outs)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def image():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def extraction(net, image):
    found = Extraction(net, Dissection(net, image, 'child'), 'pool', 'fc')
    CALLS.clear()
    return found


def bare(net):
    return not any('forward' in module.__dict__ for module in net.modules())


def replaced(net, image, **features):
    """The whole network run by hand, with features in place of its own."""
    x = image
    for name in ('one', 'two', 'three'):
        x = getattr(net, name)(x)
        x = features.get(name, x)
    return net.fc(net.pool(x).flatten(1))


def double(x):
    return 2 * x


def test_record_keeps_what_was_wanted(net, image, extraction):
    extraction.want(['two', 'body[0]', 'fc'])
    with extraction.tapped(), extraction.record():
        logits = net(image)
    assert torch.equal(extraction.feature('fc'), logits)
    one = net.one(image)
    assert torch.allclose(extraction.feature('body[0]'), one)
    assert torch.allclose(extraction.feature('two'), net.two(one))
    assert bare(net)
    with pytest.raises(KeyError):
        extraction.feature('three')


def test_record_has_the_graph(net, image, extraction):
    extraction.want(['two'])
    with extraction.tapped(), extraction.record():
        net(image)
    extraction.feature('two').sum().backward()
    assert net.one.module[0].weight.grad.abs().sum() > 0
    assert net.three.module[0].weight.grad is None


def test_record_with_a_mixer_keeps_the_networks_own(net, image, extraction):
    net.eval()
    extraction.want(['two'])
    with extraction.tapped(), extraction.record({'two': double}):
        mixed = net(image)
    own = net.two(net.one(image))
    assert torch.allclose(extraction.feature('two'), own)
    assert torch.allclose(mixed, replaced(net, image, two=2 * own))
    assert not torch.allclose(mixed, net(image))


def test_forget(net, image, extraction):
    extraction.want(['two'])
    with extraction.tapped(), extraction.record():
        net(image)
    extraction.forget()
    with pytest.raises(KeyError):
        extraction.feature('two')


def test_rerun_equals_a_full_run_with_the_feature_replaced(
        net, image, extraction):
    net.eval()
    extraction.want(['two'], rerun=True)
    new = torch.rand(2, 4, 4, 4)
    with extraction.tapped():
        with extraction.record():
            net(image)
        with extraction.rerun({'two': lambda own: new}):
            found = net(image)
        assert torch.allclose(found, replaced(net, image, two=new))
        # what the record holds is not replaced
        assert torch.allclose(
            extraction.feature('two'), net.two(net.one(image)))
        with extraction.rerun({'two': lambda own: own}):
            found = net(image)
    assert torch.equal(found, net(image))


def test_rerun_at_several_sites(net, image, extraction):
    """The mixture of the first site flows on to the second."""
    net.eval()
    extraction.want(['two', 'three'], rerun=True)
    with extraction.tapped():
        with extraction.record():
            net(image)
        with extraction.rerun({'three': double, 'two': double}):
            found = net(image)
        with extraction.record({'three': double, 'two': double}):
            assert torch.allclose(net(image), found, atol=1e-6)
    three = 2 * net.three(2 * net.two(net.one(image)))
    assert torch.allclose(found, replaced(net, image, three=three), atol=1e-6)


@pytest.mark.parametrize('site, again', [
    ('one', dict(two=1, three=1, fc=1)),
    ('two', dict(three=1, fc=1)),
    ('three', dict(fc=1)),
    ('two.module.0', dict(two=1, three=1, fc=1)),
    ('body', dict(fc=1)),
    ('pool', dict(fc=1)),
    ('fc', dict()),
])
def test_nothing_before_the_first_site_runs_again(net, image, extraction, site,
                                                  again):
    extraction.want([site], rerun=True)
    CALLS.clear()
    with extraction.tapped():
        with extraction.record():
            net(image)
        assert CALLS == dict(one=1, two=1, three=1, fc=1)
        CALLS.clear()
        with extraction.rerun({site: double}):
            net(image)
    assert CALLS == again


def test_a_rerun_behind_the_wanted_costs_less(net, image, extraction):
    """Every announced start has its own shortcuts."""
    extraction.want(['one'], rerun=True)
    extraction.want(['fc'], rerun=True)
    extraction.want(['one', 'fc'], rerun=True)
    with extraction.tapped():
        with extraction.record():
            net(image)
        CALLS.clear()
        with extraction.rerun({'fc': double}):
            net(image)
        assert not CALLS
        with extraction.rerun({'one': double, 'fc': double}):
            net(image)
    assert CALLS == dict(two=1, three=1, fc=1)


def test_one_of_several_outputs(net, image, extraction):
    net.eval()
    extraction.want(['body'], rerun=True)
    with extraction.tapped():
        with extraction.record():
            own = net(image)
        with extraction.rerun({'body[0]': double}):
            assert torch.equal(net(image), own)
        with extraction.rerun({'body[2]': double}):
            found = net(image)
    three = 2 * net.three(net.two(net.one(image)))
    assert torch.allclose(found, replaced(net, image, three=three))


@pytest.mark.parametrize('run', ['record', 'rerun'])
def test_nothing_stays_after_an_exception(net, image, extraction, run):
    extraction.want(['two'], rerun=True)

    def fails(x):
        raise RuntimeError('mixer')

    norms = [net.one.module[1], net.two.module[1], net.three.module[1]]
    buffers = [(n, b) for norm in norms for n, b in norm.named_buffers()]
    norms[2].track_running_stats = False
    with pytest.raises(RuntimeError, match='mixer'):
        with extraction.tapped():
            with extraction.record():
                net(image)
            with pytest.raises(RuntimeError, match='mixer'):
                with getattr(extraction, run)({'two': fails}):
                    net(image)
            # The pass is over, the taps are still there.
            assert not bare(net)
            assert torch.equal(net(image), net(image))
            with getattr(extraction, run)({'two': fails}):
                net(image)
    assert bare(net)
    assert [n.track_running_stats for n in norms] == [True, True, False]
    after = [(n, b) for norm in norms for n, b in norm.named_buffers()]
    assert all(a is b for (_, a), (_, b) in zip(after, buffers))


def test_an_exchanged_forward_comes_back(net, image, extraction):
    """Others, such as compilers and offloaders, exchange it too."""
    before = net.two.forward
    calls = []
    net.two.forward = own = lambda x: calls.append(1) or before(x)
    extraction.want(['two'], rerun=True)
    calls.clear()
    with extraction.tapped():
        assert net.two.__dict__['forward'] is not own
        with extraction.record():
            net(image)
        with extraction.rerun({'two': double}):
            net(image)
    assert net.two.__dict__['forward'] is own and len(calls) == 1


@pytest.mark.parametrize('training', [True, False])
def test_rerun_leaves_the_statistics_of_batch_norms(net, image, extraction,
                                                    training):
    net.train(training)
    extraction.want(['one'], rerun=True)
    with extraction.tapped():
        with extraction.record():
            net(image)
        # the recorded run did move them, as the child's own does
        counts = [m.num_batches_tracked.item() for m in net.modules()
                  if isinstance(m, nn.BatchNorm2d)]  # yapf: disable
        assert counts == [int(training)] * 3
        before = {name: value.clone() for name, value in net.named_buffers()}
        with extraction.rerun({'one': double}):
            net(image)
    for name, value in net.named_buffers():
        assert torch.equal(value, before[name]), name
    assert all(m.track_running_stats for m in net.modules()
               if isinstance(m, nn.BatchNorm2d))


def test_rerun_normalises_by_the_batch_while_training(net, image, extraction):
    net.train()
    extraction.want(['one'], rerun=True)
    with extraction.tapped():
        with extraction.record():
            net(image)
        with extraction.rerun({'one': double}):
            found = net(image)
    one = 2 * extraction.feature('one')
    expected = net.fc(net.pool(net.three(net.two(one))).flatten(1))
    assert torch.allclose(found, expected)


def test_direct_calls_of_forward_are_seen(net, image, extraction):
    extraction.want(['fc'], rerun=True)
    seen = []
    with extraction.tapped():
        with extraction.record():
            logits = net(image)
        handle = net.fc.register_forward_hook(lambda *args: seen.append(1))
        with extraction.rerun({'fc': double}):
            assert torch.equal(net(image), 2 * logits)
    # a hook would indeed have missed it
    assert not seen
    handle.remove()


def test_gradient_of_a_rerun(net, image, extraction):
    """It reaches what was put in, what comes behind and, through the
    record, what came before."""
    extraction.want(['two'], rerun=True)
    new = torch.rand(2, 4, 4, 4, requires_grad=True)
    own = net.two.module[0].weight
    with extraction.tapped():
        with extraction.record():
            net(image)
        with extraction.rerun({'two': lambda own: new}):
            net(image).square().sum().backward()
        assert new.grad.abs().sum() > 0
        assert net.three.module[0].weight.grad.abs().sum() > 0
        assert own.grad is None

        net.zero_grad()
        with extraction.rerun({'two': double}):
            found = torch.autograd.grad(net(image).square().sum(), own)[0]
    by_hand = net.fc(net.pool(net.three(2 * net.two(net.one(image))))
                     .flatten(1))  # yapf: disable
    expected = torch.autograd.grad(by_hand.square().sum(), own)[0]
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_a_module_that_runs_twice_gives_its_outputs_in_order():

    class Twice(nn.Module):

        def __init__(self):
            super().__init__()
            self.scale = nn.Linear(2, 2, bias=False)
            self.last = nn.Linear(2, 2, bias=False)

        def forward(self, x):
            return self.last(self.scale(x) - 3 * self.scale(2 * x))

    net = Twice()
    x = torch.rand(1, 2)
    extraction = Extraction(net, Dissection(net, x, 'child'), None, 'last')
    extraction.want(['last'], rerun=True)
    with extraction.tapped(), extraction.record():
        own = net(x)
    assert torch.equal(extraction.feature('last'), own)
    extraction.want(['scale'])
    with extraction.tapped():
        with extraction.record():
            net(x)
        with extraction.rerun({'last': lambda y: y}):
            assert torch.equal(net(x), own)
    assert torch.allclose(extraction.feature('scale'), net.scale(2 * x))
    assert torch.equal(extraction.feature('scale', 0), net.scale(x))


def test_unknown_sites(extraction):
    with pytest.raises(ValueError, match='The child has no module "tow"'):
        extraction.want(['tow'])
    with pytest.raises(ValueError, match='The child has no module "tow"'):
        with extraction.tapped(), extraction.record({'tow': double}):
            pass


class Nested(nn.Module):
    """A head that is given the backbone's output itself."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 1)),
            nn.Sequential(nn.Conv2d(4, 4, 1)))
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

    def forward(self, x):
        return self.head(self.backbone(x))


def test_a_site_inside_another():
    torch.manual_seed(0)
    net, image = Nested(), torch.rand(2, 3, 4, 4)
    dissection = Dissection(net, image, 'child')
    sites = ['backbone.0', 'backbone']
    assert dissection.first(sites) == 'backbone.0'
    extraction = Extraction(net, dissection, 'backbone', 'head')
    extraction.want(sites, rerun=True)
    mixers = {'backbone.0': lambda x: x + 1, 'backbone': lambda x: 2 * x}
    with extraction.tapped():
        with extraction.record():
            net(image)
        with extraction.rerun(mixers):
            mixed = net(image)
    inner = net.backbone[0](image) + 1
    torch.testing.assert_close(mixed, net.head(2 * net.backbone[1](inner)))


class InPlace(nn.Module):

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

    def forward(self, x):
        return self.head(self.act(self.conv(x)))


def test_a_feature_that_is_overwritten_is_refused():
    net, image = InPlace(), torch.rand(2, 3, 4, 4)
    extraction = Extraction(net, Dissection(net, image, 'child'), 'act',
                            'head')
    extraction.want(['conv'], rerun=True)
    extraction.want(['act'])
    with extraction.tapped():
        with extraction.record():
            net(image)
        assert extraction.feature('act').min() >= 0
        with pytest.raises(
                RuntimeError, match='"conv" cannot be a site: a later'):
            extraction.feature('conv')
        with pytest.raises(
                RuntimeError, match='overwrites its output in place'):
            with extraction.rerun({'conv': lambda x: x}):
                net(image)


def test_a_frozen_networks_feature_that_is_overwritten_is_copied():
    """As TNT's blocks overwrite each other's; seen once, in the first step."""
    net, image = InPlace(), torch.rand(2, 3, 4, 4)
    net(image)
    net.eval().requires_grad_(False)
    extraction = Extraction(net, Dissection(net, image, 'parent'), 'act',
                            'head')
    extraction.want(['conv', 'act'])
    expected = net.conv(image)
    with extraction.tapped():
        for _ in range(2):
            extraction.read(image)
            found = extraction.feature('conv')
            assert torch.equal(found, expected)
            assert found.min() < 0
            assert torch.equal(extraction.feature('act'), found.relu())


@pytest.mark.parametrize('inplace', [False, True])
def test_what_a_module_is_given(net, image, inplace):
    """Also where the module then overwrites it."""
    net.two.module[2] = nn.ReLU(inplace)
    extraction = Extraction(net, Dissection(net, image, 'child'), 'pool', 'fc')
    site = 'two.module.2@in'
    extraction.want([site, 'two.module.2'])
    with extraction.tapped(), extraction.record():
        net(image)
    normed = net.two.module[1](net.two.module[0](net.one(image)))
    assert (normed < 0).any()
    assert torch.allclose(extraction.feature(site), normed)
    assert torch.allclose(extraction.feature('two.module.2'), normed.relu())
    extraction.feature(site).sum().backward()
    assert net.two.module[0].weight.grad is not None
    assert bare(net)
    with pytest.raises(ValueError, match='can be read but not be replaced'):
        extraction.want([site], rerun=True)


def test_no_input_of_a_module_that_is_given_none(net, image):
    dissection = Dissection(net, image, 'child')
    with pytest.raises(ValueError, match='first argument'):
        dissection.split('body[0]@in')
    assert dissection.canonical('two@in') == 'two@in'
    assert dissection.layout('two@in').channels == 4


# ------------------------------------------------------------ taps and passes


def test_taps_are_on_what_is_wanted_and_leave(net, image, extraction):
    extraction.want(['two', 'body[0]', 'pool@in'])
    assert bare(net)
    with extraction.tapped():
        tapped = [
            name for name, module in net.named_modules()
            if isinstance(module.__dict__.get('forward'), Tap)
        ]
        assert sorted(tapped) == ['body', 'pool', 'two']
        before = {n: net.get_submodule(n).forward for n in tapped}
        for _ in range(2):
            with extraction.record():
                net(image)
        # They stay the same ones: to a compiler they are constants.
        assert all(net.get_submodule(n).forward is before[n] for n in tapped)
    assert bare(net)
    with pytest.raises(KeyError):
        with extraction.tapped():
            raise KeyError
    assert bare(net)


def test_between_passes_taps_let_everything_through(net, image, extraction):
    net.eval()
    plain = net(image)
    extraction.want(['two'], rerun=True)
    with extraction.tapped():
        assert torch.equal(net(image), plain)
        with extraction.record({'two': double}):
            net(image)
        own = extraction.feature('two')
        assert torch.equal(net(1 - image), net(1 - image))
        # Nothing of that has been noted.
        assert extraction.feature('two') is own
        extraction.forget()
        assert torch.equal(net(image), plain)


def test_no_pass_without_taps(net, image, extraction):
    extraction.want(['two'], rerun=True)
    with pytest.raises(RuntimeError, match='child has no tap.*two.*tapped'):
        with extraction.record():
            net(image)
    with extraction.tapped():
        with extraction.record():
            net(image)
        extraction.want(['three'])
        with pytest.raises(RuntimeError, match='has no tap at three'):
            with extraction.record():
                net(image)
        with pytest.raises(RuntimeError, match='has no tap at three'):
            with extraction.rerun({'two': double}):
                net(image)


def test_no_rerun_that_was_not_announced(net, image, extraction):
    extraction.want(['two'], rerun=True)
    extraction.want(['one', 'three'])
    with extraction.tapped():
        with extraction.record():
            net(image)
        for sites in (['one'], ['one', 'two'], ['three']):
            with pytest.raises(
                    RuntimeError,
                    match='cannot run again from.*'
                    f'{sites[0]}.*rerun=True'):
                with extraction.rerun(dict.fromkeys(sites, double)):
                    net(image)


@pytest.mark.parametrize('wanted, runs', [
    (['one'], dict(one=1)),
    (['two', 'one'], dict(one=1, two=1)),
    (['three@in'], dict(one=1, two=1)),
    (['two.module.1'], dict(one=1, two=1)),
    (['body'], dict(one=1, two=1, three=1)),
    (['one', 'fc'], dict(one=1, two=1, three=1, fc=1)),
])
def test_a_network_is_stopped_after_the_last_wanted_feature(
        net, image, extraction, wanted, runs):
    net.eval()
    extraction.want(wanted)
    entered = Counter()
    for name in ('one', 'two', 'three', 'pool', 'fc'):
        net.get_submodule(name).register_forward_pre_hook(
            lambda *_, name=name: entered.update([name]))
    with extraction.tapped():
        for _ in range(2):
            CALLS.clear()
            extraction.read(image)
            assert CALLS == runs
        assert not entered['pool'] or 'fc' in wanted
        found = [extraction.feature(site) for site in wanted]
        with extraction.record():
            net(image)
        for site, feature in zip(wanted, found):
            assert torch.equal(extraction.feature(site), feature)
    assert bare(net)


class Loop(nn.Module):

    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(3, 3)
        self.last = nn.Linear(3, 3)

    def forward(self, x):
        for _ in range(3):
            x = self.cell(x)
        return self.last(x)


def test_a_stopped_loop_has_run_to_its_end():
    torch.manual_seed(0)
    net, x = Loop(), torch.rand(2, 3)
    extraction = Extraction(net, Dissection(net, x, 'parent'), None, 'last')
    extraction.want(['cell'])
    ran = []
    net.last.register_forward_hook(lambda *_: ran.append(1))
    with extraction.tapped():
        extraction.read(x)
        assert not ran
        for call in range(3):
            x = net.cell(x)
            assert torch.equal(extraction.feature('cell', call), x)


def test_a_passes_own_notes(net, image, extraction):
    """Behind the mixture a pass has features of its own."""
    net.eval()
    extraction.want(['one', 'three'])
    extraction.want(['two'], rerun=True)
    with extraction.tapped():
        with extraction.record():
            net(image)
        with extraction.rerun({'two': double}, 'doubled'):
            net(image)
        with extraction.rerun({'two': lambda x: x + 1}, 'more'):
            net(image)
        own = extraction.feature('two')
        three = net.three(own)
        assert torch.equal(extraction.feature('three'), three)
        assert torch.equal(
            extraction.feature('three', run='doubled'), net.three(2 * own))
        assert torch.equal(
            extraction.feature('three', run='more'), net.three(own + 1))
        # Noted is what arrives at a site, not what leaves it; and what a
        # pass does not run is that of the first.
        for run in (None, 'doubled', 'more'):
            assert torch.equal(extraction.feature('two', run=run), own)
            assert extraction.feature(
                'one', run=run) is (extraction.feature('one'))
        # Of the next step nothing is left.
        extraction.forget()
        with extraction.record(name='other'):
            net(image)
        assert torch.equal(extraction.feature('three'), three)
        assert torch.equal(extraction.feature('three', run='doubled'), three)


def test_a_copy_of_a_tapped_network_is_a_plain_one(net, image, extraction):
    """As an average of weights makes it when training begins."""
    extraction.want(['two'], rerun=True)
    net.eval()
    with extraction.tapped():
        twin = copy.deepcopy(net)
        assert not any(
            isinstance(module.__dict__.get('forward'), Tap)
            for module in twin.modules())
        assert twin.two.forward.__self__ is twin.two
        with extraction.record():
            own = net(image)
            assert torch.equal(twin(1 - image), net(1 - image))
        assert len(extraction.tape.notes('own')['two']) == 2
        with torch.no_grad():
            for parameter in twin.two.parameters():
                parameter.zero_()
        assert torch.equal(net(image), own)
        assert not torch.equal(twin(image), own)
        # And a copy of the copy.
        assert torch.equal(copy.deepcopy(twin)(image), twin(image))
    assert torch.equal(net(image), own) and bare(net)
    assert not {id(p)
                for p in net.parameters()
                } & {id(p)
                     for p in twin.parameters()}
