# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from torchvision.models.optical_flow import raft_large, raft_small
from torchvision.models.optical_flow._utils import (make_coords_grid,
                                                    upsample_flow)

from mmhkt.models.flow.warm_start import carry_forward, in_cells, starting_from


def raft_from(raft, image1, image2, updates, flow):
    """RAFT's loop as published, with ``coords1`` moved before it."""
    fmap1, fmap2 = raft.feature_encoder(torch.cat([image1, image2])).chunk(2)
    raft.corr_block.build_pyramid(fmap1, fmap2)
    context = raft.context_encoder(image1)
    hidden = raft.update_block.hidden_state_size
    hidden, context = context.split([hidden, context.shape[1] - hidden], 1)
    hidden, context = hidden.tanh(), context.relu()
    coords0 = make_coords_grid(*flow.shape[::2], flow.shape[3])
    coords1 = coords0 + flow
    for _ in range(updates):
        correlations = raft.corr_block.index_pyramid(coords1)
        hidden, delta = raft.update_block(hidden, context, correlations,
                                          coords1 - coords0)
        coords1 = coords1 + delta
        mask = raft.mask_predictor
        yield upsample_flow(coords1 - coords0, mask and mask(hidden))


@pytest.mark.parametrize('build', [raft_small, raft_large])
@torch.no_grad()
def test_begins_from_a_flow(build):
    torch.manual_seed(0)
    raft = build().eval()
    images = torch.rand(2, 2, 3, 128, 136) * 2 - 1
    flow = torch.randn(2, 2, 16, 17)
    wanted = list(raft_from(raft, *images, 3, flow))
    with starting_from(raft, flow):
        got = raft(*images, 3)
    for one, other in zip(got, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-3, rtol=1e-4)
    # Nothing of it is left.
    cold = raft(*images, 3)
    assert not torch.allclose(cold[0], wanted[0], atol=1e-1)
    with starting_from(raft, torch.zeros_like(flow)):
        for one, other in zip(raft(*images, 3), cold):
            assert torch.equal(one, other)


def test_leaves_nothing_behind_after_an_error():
    raft = raft_small()
    before = dict(raft.corr_block.__dict__)
    with pytest.raises(RuntimeError, match='here'):
        with starting_from(raft, torch.zeros(1, 2, 16, 16)):
            raise RuntimeError('here')
    assert raft.corr_block.__dict__.keys() == before.keys()
    assert not raft.update_block._forward_hooks
    assert not raft.update_block._forward_pre_hooks


def test_in_cells():
    flow = torch.full((1, 2, 16, 24), 4.)
    assert torch.equal(in_cells(flow), torch.full((1, 2, 2, 3), 0.5))


def test_carry_forward():
    flow = torch.zeros(2, 32, 48)
    flow[0, :, 16:24] = 16  # one column of cells moves by two cells
    carried = carry_forward(flow)
    assert carried.shape == flow.shape
    assert carried[:, :, 32:40].unique().tolist() == [0, 16]
    assert torch.equal(carried[0, 8:, 32:40], torch.full((24, 8), 16.))
    assert not carried[:, :, 40:].any()


def test_carry_forward_out_of_the_image():
    flow = torch.full((2, 37, 43), 1000.)
    assert torch.equal(carry_forward(flow), torch.zeros_like(flow))
