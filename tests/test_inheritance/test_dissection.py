# Copyright (c) mmhkt authors. All rights reserved.
from collections import OrderedDict

import pytest
import torch
from torch import nn

from mmhkt.inheritance import Dissection, Layout


def conv(before, after, stride=1):
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after),
        nn.ReLU())


class Backbone(nn.Module):
    """Two stages, of which the first has two blocks; both are returned."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.layer1 = nn.Sequential(conv(4, 4), conv(4, 4))
        self.layer2 = nn.Sequential(conv(4, 8, 2))
        self.unused = conv(4, 4)

    def forward(self, x):
        one = self.layer1(self.stem(x))
        return one, self.layer2(one)


class Head(nn.Module):

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(x)


class Net(nn.Module):

    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.neck = nn.AdaptiveAvgPool2d(1)
        self.head = Head()

    def forward(self, x):
        x = self.neck(self.backbone(x)[-1]).flatten(1)
        # Behind the back of hooks, as losses and necks are often called.
        return self.head.forward(x)


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def dissection(net):
    return Dissection(net, torch.rand(2, 3, 16, 16), 'child')


def test_the_network_is_left_as_it_was(net):
    net.train()
    net.backbone.layer2.eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    modes = {name: module.training for name, module in net.named_modules()}
    Dissection(net, torch.rand(2, 3, 16, 16), 'child')
    assert modes == {n: m.training for n, m in net.named_modules()}
    assert all(
        torch.equal(value, state[name])
        for name, value in net.state_dict().items())
    assert not any('forward' in m.__dict__ for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_the_network_is_left_as_it_was_after_an_error(net):
    net.train()
    with pytest.raises(ValueError, match='cannot take images of 16x16'):
        Dissection(net, torch.rand(2, 5, 16, 16), 'child')
    assert all(module.training for module in net.modules())
    assert not any('forward' in m.__dict__ for m in net.modules())


def test_top_level(dissection):
    assert dissection.top_level() == ['backbone', 'neck', 'head']


@pytest.mark.parametrize(
    'site, expected',
    [
        ('backbone', ('backbone', None)),
        ('backbone[0]', ('backbone', 0)),
        ('backbone[-1]', ('backbone', -1)),
        ('backbone.layer1.0', ('backbone.layer1.0', None)),
        ('backbone.layer1.-1', ('backbone.layer1.1', None)),
        ('backbone.layer1.-1.-3', ('backbone.layer1.1.0', None)),
        # of all modules, whatever they are called: stem, 1, 2 and unused
        ('backbone.-2.0', ('backbone.layer2.0', None)),
        ('-1.fc', ('head.fc', None)),
    ])
def test_split(dissection, site, expected):
    assert dissection.split(site) == expected


@pytest.mark.parametrize('site, words', [
    ('backbone.layer3', [
        'child has no module "backbone.layer3"', 'nearest:', 'backbone.layer1',
        'backbone.layer2'
    ]),
    ('backbone.layer1.2', ['no module', 'backbone.layer1.1']),
    ('backbone.layer1.-3', ['no module', 'backbone.layer1.1']),
    ('bakbone', ['no module "bakbone"', 'nearest: backbone']),
    ('', ['no module ""', 'valid:']),
    ('backbone.unused', ['"backbone.unused" does not run', 'nearest:']),
    ('backbone[2]', ['returns 2 feature(s)', '"backbone[2]"']),
    ('backbone[-3]', ['returns 2 feature(s)', '"backbone[-3]"']),
    ('backbone.stem[1]', ['returns 1 feature(s)', '"backbone.stem[1]"']),
])
def test_split_of_what_is_not_there(dissection, site, words):
    with pytest.raises(ValueError) as error:
        dissection.split(site)
    for word in words:
        assert word in str(error.value)


def test_errors_name_the_role(net):
    parent = Dissection(net, torch.rand(1, 3, 8, 8), 'parent')
    with pytest.raises(ValueError, match='The parent has no module "nek"'):
        parent.split('nek')


@pytest.mark.parametrize('site, expected', [
    ('backbone', Layout('map', 8, (4, 4), 0, 4.)),
    ('backbone[0]', Layout('map', 4, (8, 8), 0, 2.)),
    ('backbone.layer1', Layout('map', 4, (8, 8), 0, 2.)),
    ('neck', Layout('map', 8, (1, 1), 0, 16.)),
    ('head.fc', Layout('vector', 10)),
])
def test_layout(dissection, site, expected):
    assert dissection.layout(site) == expected


def test_layout_of_what_is_no_feature():

    class Flat(nn.Module):

        def __init__(self):
            super().__init__()
            self.flat = nn.Flatten(0)

        def forward(self, x):
            return self.flat(x)

    dissection = Dissection(Flat(), torch.rand(2, 3, 4, 4), 'parent')
    with pytest.raises(ValueError, match='parent.s "flat" cannot be a site'):
        dissection.layout('flat')


def test_first(dissection):
    sites = ['neck', 'backbone.layer1.-1', 'head', 'backbone.layer2']
    assert dissection.first(sites) == 'backbone.layer1.1'


def used_again(dissection, site):
    """What a second pass from a site takes from the first."""
    free = dissection.unaffected([site])
    return set(dissection.reusable([*free, site])) - {site}


def test_used_again(dissection):
    # the largest, and no part of them; the backbone itself is not finished
    assert used_again(
        dissection, 'backbone.layer2') == {'backbone.stem', 'backbone.layer1'}
    assert used_again(dissection, 'backbone.layer1.1') == {
        'backbone.stem', 'backbone.layer1.0'
    }
    assert used_again(dissection, 'head.fc') == {'backbone', 'neck'}
    assert used_again(dissection, 'backbone.stem') == set()


def test_used_again_with_a_module_that_runs_again():
    """A module with calls before and after is not finished."""

    class Twice(nn.Module):

        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(self.two(self.act(self.one(x))))

    dissection = Dissection(Twice(), torch.rand(1, 3, 4, 4), 'child')
    assert used_again(dissection, 'two') == {'one'}


class Branches(nn.Module):
    """Returns two features."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 1, s) for s in (1, 2))

    def forward(self, x):
        return [conv(x) for conv in self.convs]


class Nested(nn.Module):
    """Returns what lies in a dict and in tuples of each other."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        return dict(tasks=dict(digit=x.mean((2, 3)), odd=x[:, 0, 0]), map=x)


def test_outputs_in_dicts_by_number_and_name():
    dissection = Dissection(
        nn.Sequential(OrderedDict(head=Nested(), tail=Last())),
        torch.rand(2, 3, 8, 8), 'child')
    assert dissection.shape('head') == (2, 4)
    assert dissection.shape('head[tasks.odd]') == (2, 8)
    assert dissection.shape('head[map]') == dissection.shape('head[2]')
    assert dissection.canonical('head[-1]') == 'head[2]'
    assert dissection.canonical('head') == 'head[0]'
    assert dissection.shape('tail@in') == (2, 4)
    with pytest.raises(
            ValueError,
            match=r'3 feature\(s\) \[tasks.digit\] '
            r'\[tasks.odd\] \[map\], so .* "head\[even\]"'):
        dissection.split('head[even]')


class Last(nn.Module):

    def forward(self, features):
        return features['tasks']['digit']


def test_maps_with_channels_last():

    class Blocks(nn.Module):

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 2, 2)
            self.norm = nn.LayerNorm(6)

        def forward(self, x):
            return self.norm(self.conv(x).permute(0, 2, 3, 1))

    dissection = Dissection(Blocks(), torch.rand(1, 3, 8, 16), 'child')
    assert dissection.layout('norm') == Layout('map', 6, (4, 8), 0, 2.)
    assert dissection.shape('norm') == (1, 6, 4, 8)
    assert dissection.channels_last('norm')
    assert not dissection.channels_last('conv')


def test_who_gives_and_who_makes_a_feature():

    class Wrapped(nn.Module):

        def __init__(self):
            super().__init__()
            self.branches = Branches()
            self.drop = nn.Dropout(0.5)
            self.act = nn.ReLU(inplace=True)
            self.fc = nn.Sequential(nn.Conv2d(4, 2, 1))

        def forward(self, x):
            x = self.drop(self.drop(self.branches(x)[0]))
            return [self.fc(self.act(x + 1)), x]

    net = nn.Sequential()
    net.add_module('head', Wrapped())
    dissection = Dissection(net, torch.rand(1, 4, 8, 8), 'child')
    assert list(
        dissection.givers('head.drop')) == ['head.drop', 'head.branches[0]']
    assert dissection.runs('head.drop') == 2
    # Something is added in between.
    assert list(dissection.givers('head.fc')) == ['head.act']
    assert dissection.maker('head') == 'head.fc.0'
    assert dissection.maker('head.branches[0]') == 'head.branches.convs.0'
    assert dissection.maker('head.fc.0') == 'head.fc.0'


class Fork(nn.Module):
    """Two branches beside each other, and a module that runs in a loop."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 4, 1)
        self.right = nn.Conv2d(3, 4, 1)
        self.later = nn.Conv2d(4, 4, 1)
        self.loop = nn.Conv2d(4, 4, 1)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        left = self.left(x)
        hidden = self.later(self.right(x))
        for _ in range(3):
            hidden = self.loop(hidden + left)
        return self.out(hidden)


@pytest.fixture
def fork():
    torch.manual_seed(0)
    return Dissection(Fork(), torch.rand(2, 3, 8, 8), 'child')


def test_unaffected(fork):
    assert fork.unaffected(['left']) == ['left', 'right', 'later']
    assert fork.unaffected(['right']) == ['left', 'right']
    # In a loop a module's own output comes back to it.
    assert fork.unaffected(['loop']) == ['left', 'right', 'later']
    assert fork.unaffected(['out'
                            ]) == ['left', 'right', 'later', 'loop', 'out']


def test_decisive(fork):
    assert fork.decisive(['left', 'right'], 'out') == ['left', 'right']
    assert fork.decisive(['left', 'right', 'later'],
                         'out') == ['left', 'later']
    assert fork.decisive(['left', 'loop'], 'out') == ['loop']
    assert fork.decisive(['loop', 'right'], 'out') == ['loop']


def test_noise_leaves_the_network_as_it_was(fork):
    net = fork.network.train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    fork.decisive(['left', 'right'], 'out')
    assert net.training and 'forward' not in vars(net.left)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(state[k], v) for k, v in net.state_dict().items())
