# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from torch import nn

from mmhkt.inheritance import (Dissection, Extraction, Layout, Site,
                               find_sites, left_out, pair_stages)


class Stages(nn.Module):
    """A backbone: stages of some strides and widths, then pooling."""

    def __init__(self, *stages):
        super().__init__()
        before = 3
        for i, (stride, channels) in enumerate(stages):
            conv = nn.Conv2d(before, channels, 1, stride)
            self.add_module(f'stage{i}', nn.Sequential(conv, nn.ReLU()))
            before = channels
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        for name, module in self.named_children():
            x = module(x)
        return x.flatten(1)


class Plain(nn.Module):
    """A backbone of blocks that all work on patches of one size."""

    def __init__(self, blocks, patch=4):
        super().__init__()
        self.embed = nn.Conv2d(3, 5, patch, patch)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(5, 5), nn.ReLU()) for _ in range(blocks))

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return x.mean(1)


def extraction(backbone, role='child', head_site='backbone'):
    last = list(backbone.parameters())[-1].numel()
    net = nn.Sequential()
    net.add_module('backbone', backbone)
    net.add_module('head', nn.Linear(last, 10))
    dissection = Dissection(net, torch.rand(2, 3, 32, 32), role)
    return Extraction(net, dissection, head_site, 'head')


@pytest.fixture
def child():
    return extraction(Stages((1, 4), (2, 4), (2, 6)))


@pytest.fixture
def parent():
    # two blocks of stride 2, of which the last makes the stage
    return extraction(Stages((2, 8), (1, 9), (2, 12), (2, 16)), 'parent')


def pairs(sites):
    return [(site.child.replace('backbone.',
                                ''), site.parent.replace('backbone.', ''))
            for site in sites]


def test_head(child, parent):
    assert find_sites('head', child, parent) == [
        Site('backbone', 'backbone', Layout('vector', 6), Layout('vector', 16))
    ]


def test_stages(child, parent):
    """In order, the nearest: 1, 2, 4 beside 2, 4, 8."""
    sites = find_sites('stages', child, parent)
    assert pairs(sites) == [('stage0', 'stage1'), ('stage1', 'stage2'),
                            ('stage2', 'stage3')]
    assert sites[1].child_layout == Layout('map', 4, (16, 16), 0, 2.)
    assert sites[0].parent_layout == Layout('map', 9, (16, 16), 0, 2.)
    assert sites[1].parent_layout == Layout('map', 12, (8, 8), 0, 4.)


@pytest.mark.parametrize(
    'strides, parents, expected',
    [
        # As many as the one with fewer has, at equal depths.
        ((4, 2, 2, 2), (2, 2, 2, 2, 2), [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ((2, 2, 2, 2, 2), (4, 2, 2, 2), [(1, 0), (2, 1), (3, 2), (4, 3)]),
        ((1, 2, 2), (1, 2, 2, 2), [(0, 0), (1, 1), (2, 2)]),
        # Dilated against plain: 4, 8, 8, 8 against 4, 8, 16, 32.
        ((4, 2, 1, 1), (4, 2, 2, 2), [(0, 0), (1, 1), (2, 2), (3, 3)]),
        ((4, 2, 2), (4, 2, 1, 1), [(0, 0), (1, 1), (2, 2)]),
        ((4, 2, 2, 1), (4, 2, 1, 1), [(0, 0), (1, 1), (2, 2), (3, 3)]),
        # None in common: in order all the same.
        ((8, 2), (2, 2), [(0, 0), (1, 1)]),
    ])
def test_stages_in_order_and_by_depth(strides, parents, expected):
    one = extraction(Stages(*((s, 4) for s in strides)))
    other = extraction(Stages(*((s, 8) for s in parents)), 'parent')
    assert pairs(find_sites('stages', one,
                            other)) == [(f'stage{c}', f'stage{p}')
                                        for c, p in expected]


def test_what_is_left_out(child, parent):
    found = find_sites('stages', parent, child)
    assert [s.site
            for s in left_out([s.child for s in found], parent.trunk)] == []
    found = found[1:]
    assert [s.site for s in left_out([s.child for s in found], parent.trunk)
            ] == ['backbone.stage1']
    plain = extraction(Plain(4))
    assert left_out([], plain.trunk) == []


def test_all_is_stages_and_head(child, parent):
    assert find_sites('all', child, parent) == (
        find_sites('stages', child, parent) +
        find_sites('head', child, parent))


def test_typed(child, parent):
    sites = find_sites([
        dict(child='backbone.-2', parent='backbone.stage1.0'),
        dict(child='backbone.stage0', parent='backbone')
    ], child, parent)
    assert pairs(sites) == [('-2', 'stage1.0'), ('stage0', 'backbone')]
    assert sites[0].child_layout == Layout('map', 6, (8, 8), 0, 4.)
    assert sites[1].parent_layout == Layout('vector', 16)


def test_a_pair_typed_twice_is_one(child, parent):
    site = dict(child='backbone.stage1', parent='backbone.stage1')
    assert len(find_sites([site, dict(site)], child, parent)) == 1


def test_plain_beside_hierarchical(child):
    """As many blocks as the other has stages, evenly spaced, the last one
    for the last."""
    parent = extraction(Plain(12), 'parent')
    assert pair_stages(child.trunk, parent.trunk) == [
        ('backbone.stage0', 'backbone.blocks.3'),
        ('backbone.stage1', 'backbone.blocks.7'),
        ('backbone.stage2', 'backbone.blocks.11'),
    ]
    assert pair_stages(parent.trunk, child.trunk) == [
        ('backbone.blocks.3', 'backbone.stage0'),
        ('backbone.blocks.7', 'backbone.stage1'),
        ('backbone.blocks.11', 'backbone.stage2'),
    ]
    site = find_sites('stages', child, parent)[0]
    assert site.parent_layout == Layout('tokens', 5, (8, 8), 0, 4.)


def test_plain_beside_plain_in_quarters():
    child, parent = extraction(Plain(4)), extraction(Plain(12, 8), 'parent')
    found = find_sites('stages', child, parent)
    assert pairs(found) == [('blocks.0', 'blocks.2'), ('blocks.1', 'blocks.5'),
                            ('blocks.2', 'blocks.8'),
                            ('blocks.3', 'blocks.11')]


# ------------------------------------------------------------------- errors


@pytest.mark.parametrize('sites, error, words', [
    ('stage', ValueError, ['"stage" is unknown', 'nearest: stages', 'list']),
    ([], ValueError, ['empty list']),
    (['backbone'], TypeError, ["'backbone'", "dict(child='module.path'"]),
    ([dict(child='backbone')], TypeError, ["{'child': 'backbone'}"]),
    ([dict(child='backbone', parent='backbone', x=1)], TypeError, ["'x': 1"]),
    ([dict(child='bakbone', parent='backbone')], ValueError,
     ['The child has no module "bakbone"', 'nearest: backbone']),
    ([dict(child='backbone', parent='backbone.stage9')], ValueError,
     ['The parent has no module "backbone.stage9"', 'backbone.stage0']),
])
def test_bad_sites(child, parent, sites, error, words):
    with pytest.raises(error) as found:
        find_sites(sites, child, parent)
    for word in words:
        assert word in str(found.value)


@pytest.mark.parametrize('sites', ['head', 'all'])
def test_no_feature_enters_the_head(child, sites):
    parent = extraction(Stages((2, 8), (2, 8)), role='parent', head_site=None)
    with pytest.raises(ValueError, match='head of the parent .Sequential'):
        find_sites(sites, child, parent)


@pytest.mark.parametrize('strides', [(2, 2, 1), (2, 2, 2), (1, 2, 1)])
def test_dilated_stages_are_paired_by_name(strides):
    """Else a middle stage would be paired with the parent's last."""
    child = extraction(Stages(*((s, 4) for s in strides)))
    dilated = extraction(Stages((2, 8), (2, 8), (1, 8)), 'parent')
    every = [(f'stage{i}', f'stage{i}') for i in range(3)]
    assert pairs(find_sites('stages', child, dilated)) == every
    assert pairs(find_sites('middle', child, dilated)) == every[1:2]


def test_a_stem_of_the_first_stages_stride_is_no_stage():
    blocks = [(2, 4), (1, 4), (2, 4), (2, 4)]
    one, other = extraction(Stages(*blocks)), extraction(Stages(*blocks))
    assert pairs(find_sites('stages', one,
                            other)) == [(f'stage{i}', f'stage{i}')
                                        for i in (1, 2, 3)]


def test_many_blocks_are_no_stages():
    blocks = [(2, 4), (1, 4), (2, 4), (1, 4), (1, 4), (2, 4)]
    one, other = extraction(Stages(*blocks)), extraction(Stages(*blocks))
    assert pairs(find_sites('stages', one,
                            other)) == [(f'stage{i}', f'stage{i}')
                                        for i in (1, 4, 5)]


@pytest.mark.parametrize('role', ['child', 'parent'])
def test_no_stages(child, parent, role):
    bare = extraction(nn.Sequential(nn.Flatten(), nn.Linear(3072, 8)), role)
    networks = {'child': child, 'parent': parent, role: bare}
    with pytest.raises(ValueError, match=f'The {role} .Sequential. has no'):
        find_sites('stages', networks['child'], networks['parent'])


@pytest.mark.parametrize(
    'sites, expected',
    [
        ('last', [('stage2', 'stage3')]),
        ('middle', [('stage1', 'stage2')]),
        ('preactivations', [('stage0.1@in', 'stage1.1@in'),
                            ('stage1.1@in', 'stage2.1@in'),
                            ('stage2.1@in', 'stage3.1@in')]),
        ('review', [('stage0', 'stage1.1@in'), ('stage1', 'stage2.1@in'),
                    ('stage2', 'stage3.1@in'), ('backbone', 'backbone')]),
        ('logits', [('head', 'head')]),
        # The logits here are no maps.
        ('dense', [('stage2', 'stage3')]),
    ])
def test_presets(child, parent, sites, expected):
    assert pairs(find_sites(sites, child, parent)) == expected


def test_the_middle_of_four_is_the_second():
    stages = (1, 4), (2, 4), (2, 4), (2, 4)
    one, other = extraction(Stages(*stages)), extraction(Stages(*stages))
    assert pairs(find_sites('middle', one, other)) == [('stage1', 'stage1')]


def test_a_stage_without_an_activation_at_its_end_is_read_as_it_is():
    backbone = Stages((2, 4))
    backbone.stage0.add_module('norm', nn.BatchNorm2d(4))
    one, other = extraction(backbone), extraction(Stages((2, 4)))
    assert pairs(find_sites('preactivations', one,
                            other)) == [('stage0', 'stage0.1@in')]
