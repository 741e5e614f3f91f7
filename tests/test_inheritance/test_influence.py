# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from torch import nn

from mmhkt.inheritance import Dissection, Extraction
from mmhkt.inheritance.influence import Influence


def follow(compute):
    """The names that a computation's outputs carry, of tensors a and b."""
    influence = Influence()
    with torch.no_grad(), influence:
        a = influence.mark(torch.arange(12.).view(3, 4), 'a')
        b = influence.mark(torch.arange(12.).view(3, 4), 'b')
        found = compute(a, b)
        return ''.join(sorted(influence.names(found)))


def written(compute):
    """What is written to, not what the computation returns."""

    def run(a, b):
        target = torch.zeros(3, 4)
        compute(target, a, b)
        return target

    return run


def looped(a, b):
    for _ in range(3):
        a = a + 0 * b
    return a


def through_a_view(a, b):
    a[0][1:].copy_(b[0, 1:])
    return a


@pytest.mark.parametrize(
    'names, compute',
    [
        ('', lambda a, b: torch.ones(3)),
        ('a', lambda a, b: a),
        ('a', lambda a, b: 2 * a + torch.ones(4)),
        ('ab', lambda a, b: a @ b.T),
        ('ab', lambda a, b: [torch.ones(2), dict(x=(a, ), y=b)]),
        # What is equal by chance depends all the same.
        ('a', lambda a, b: a.roll(1, 1)),
        ('a', lambda a, b: a.flip(0)),
        ('a', lambda a, b: a - a),
        ('a', lambda a, b: a.clamp(max=-1)),
        # Views.
        ('a', lambda a, b: a.view(4, 3).T[1:]),
        ('a', lambda a, b: a.split(2, dim=1)[1].unbind()[0]),
        ('a', lambda a, b: a.expand(5, 3, 4)[2]),
        # No gradient, and yet.
        ('a', lambda a, b: a.detach()),
        ('a', lambda a, b: a.detach().clone().requires_grad_()),
        ('a', lambda a, b: a.argmax(1)),
        ('a', lambda a, b: a > 3),
        ('a', lambda a, b: a.sort().indices),
        ('a', lambda a, b: a.round().long()),
        ('ab', lambda a, b: a[:, b.argmax(1)]),
        ('ab', lambda a, b: a[b > 3]),
        ('ab', lambda a, b: a.gather(1, b.argsort(1))),
        ('ab', lambda a, b: torch.where(a > 0, b, 1)),
        ('a', lambda a, b: torch.ones(12, 2)[a.long().view(-1)]),
        ('a', lambda a, b: (a > 3).nonzero()),
        # Of several.
        ('ab', lambda a, b: torch.cat([a, b])),
        ('ab', lambda a, b: torch.stack([a, b]).unbind()[0]),
        ('ab',
         lambda a, b: nn.functional.linear(torch.ones(1, 4), a, b[:3, 0])),
        ('ab', looped),
        # In place, of whole tensors and of parts.
        ('ab', lambda a, b: a.add_(b)),
        ('ab', through_a_view),
        ('ab', lambda a, b: (a.view(-1)[2:4].mul_(b[0, :2]), a)[1]),
        ('a', written(lambda t, a, b: t.copy_(a))),
        ('ab', written(lambda t, a, b: t[1].copy_(a[1]).add_(b[0]))),
        ('a', written(lambda t, a, b: t.__setitem__((0, 1), a[0, 0]))),
        ('a',
         written(lambda t, a, b: t.index_add_(0, torch.tensor([1]), a[:1]))),
        ('ab', written(lambda t, a, b: torch.add(a, b, out=t))),
        ('ab', written(lambda t, a, b: torch._foreach_add_([t], [a + b]))),
        ('b',
         written(lambda t, a, b: t.view(-1).masked_fill_(b.view(-1) > 3, 1.))),
        # By what the host looks at.
        ('b', lambda a, b: torch.ones(9)[:int(b[0, 1])]),
        ('ab', lambda a, b: a if b.max() > 3 else 2 * a + 1),
        ('ab', lambda a, b: a * b.sum().item()),
        ('ab', lambda a, b: a * bool((b > 3).any())),
    ])
def test_names(names, compute):
    assert follow(compute) == names


def test_a_mark_is_a_copy_with_no_other_name():
    influence = Influence()
    x = torch.rand(3)
    with influence:
        a = influence.mark(x, 'a')
        b = influence.mark(2 * a, 'b')
        b += 1
        assert influence.names(a) == {'a'} and influence.names(b) == {'b'}
        assert influence.names(x) == set()
    assert torch.equal(a, x) and a.data_ptr() != x.data_ptr()


def test_names_of_what_is_gone_are_not_found_again():
    """A new tensor may lie where an old one lay."""
    influence = Influence()
    with influence:
        for _ in range(200):
            a = influence.mark(torch.rand(64), 'a')
            del a
            assert influence.names(torch.rand(64)) == set()
            assert influence.names(torch.ones(64) + 1) == set()
            assert influence.names(torch.tensor([1., 2.]) + 1) == set()


# -------------------------------------------------------------- in a network


class Roll(nn.Module):
    """Its sum, and that of its squares, are those of what it is given."""

    def forward(self, x):
        return x.roll((1, 2), (2, 3)).flip(1)


class Indices(nn.Module):
    """Returns no floating-point number."""

    def forward(self, x):
        return x.argmax(1)


class Named(nn.Module):
    """Returns a dict."""

    def forward(self, x):
        return dict(first=x, second=[2 * x])


class Overwritten(nn.Module):
    """Writes to a part of what it made before."""

    def forward(self, x):
        y = torch.zeros_like(x[:1]).repeat(len(x), 1, 1, 1)
        y[:, 1:] = x[:, 1:]
        return y


class Chosen(nn.Module):
    """One of two by a value."""

    def forward(self, x, other):
        return other if float(x.detach().sum()) > -1e9 else 0 * other


class Net(nn.Module):

    def __init__(self, behind):
        super().__init__()
        self.left = nn.Conv2d(3, 4, 1)
        self.right = nn.Conv2d(3, 4, 1)
        self.behind = behind
        self.free = nn.Conv2d(4, 4, 1)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        left, right = self.left(x), self.free(self.right(x))
        if isinstance(self.behind, Chosen):
            return self.out(self.behind(left, right))
        found = self.behind(left)
        if isinstance(found, dict):
            found = found['second'][0]
        if not found.is_floating_point():
            found = found[:, None].float()
        return self.out(right + found)


KINDS = [Roll, Indices, Named, Overwritten, Chosen]


@pytest.mark.parametrize('kind', KINDS)
def test_a_module_of_any_kind(kind):
    torch.manual_seed(0)
    net = Net(kind())
    dissection = Dissection(net, torch.rand(2, 3, 8, 8), 'child')
    found = dissection.influence(['left', 'right'])
    assert found['behind'] == ({'left', 'right'}
                               if kind is Chosen else {'left'})
    assert found['left'] == found['right'] == set()
    assert found['free'] == {'right'}
    assert found['out'] == found[''] == {'left', 'right'}
    assert dissection.unaffected(['left']) == ['left', 'right', 'free']
    assert dissection.decisive(['left', 'right'], 'out') == ['left', 'right']
    assert dissection.decisive(['left', 'free'], 'out') == ['left', 'free']


@pytest.mark.parametrize('kind', KINDS)
def test_a_rerun_computes_what_depends_anew(kind):
    """Two sites, one of which is behind nothing, so that modules between
    them are taken from the first pass if they can be."""
    torch.manual_seed(0)
    net, image = Net(kind()).eval(), torch.rand(2, 3, 8, 8)
    extraction = Extraction(net, Dissection(net, image, 'child'), None, 'out')
    extraction.want(['left', 'out'], rerun=True)
    ran = []
    for name in ('right', 'free', 'behind'):
        net.get_submodule(name).register_forward_hook(
            lambda *_, name=name: ran.append(name))
    with extraction.tapped():
        with extraction.record():
            net(image)
        ran.clear()
        with extraction.rerun({
                'left': lambda x: 1 - 2 * x,
                'out': lambda x: x + 1
        }):
            found = net(image)
    handle = net.left.register_forward_hook(lambda *args: 1 - 2 * args[-1])
    assert torch.allclose(found, net(image) + 1, atol=1e-6)
    handle.remove()


def test_a_loop_comes_back_to_itself():

    class Loop(nn.Module):

        def __init__(self):
            super().__init__()
            self.before = nn.Conv2d(3, 3, 1)
            self.cell = nn.Conv2d(3, 3, 1)
            self.aside = nn.Conv2d(3, 3, 1)
            self.out = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            x = self.before(x)
            state = torch.zeros_like(x)
            for _ in range(3):
                state = self.cell(state.detach() + self.aside(x))
            return self.out(state)

    torch.manual_seed(0)
    dissection = Dissection(Loop(), torch.rand(2, 3, 4, 4), 'child')
    found = dissection.influence(['cell'])
    # With its first output replaced it would return something else.
    assert found == {
        'before': set(),
        'aside': set(),
        'cell': {'cell'},
        'out': {'cell'},
        '': {'cell'}
    }
    assert dissection.influence(['aside'])['cell'] == {'aside'}
    assert dissection.unaffected(['cell']) == ['before', 'aside']
