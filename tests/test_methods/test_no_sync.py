# Copyright (c) mmhkt authors. All rights reserved.
"""The host does not wait for the device while a step is put together."""
import pytest
import torch
from distiller_helpers import ALL, distiller, loss_of, step_of
from sync_helpers import HostWaits, no_sync


@pytest.mark.parametrize('images', [range(4), [3, 3], [0]])
@pytest.mark.parametrize('name', ALL)
def test_distillers(name, images):
    method = distiller(name)
    step = step_of(method, images)
    # The second step is not the first one of what is remembered.
    for _ in range(2):
        with no_sync():
            loss_of(method, step).backward()


@pytest.mark.parametrize('kwargs', [
    dict(name='KD', standardise=True),
    dict(name='CC', kernel='gaussian'),
    dict(name='MGD', mask_over='channels'),
])
def test_other_settings(kwargs):
    method = distiller(**kwargs)
    step = step_of(method, range(4))
    with no_sync():
        loss_of(method, step).backward()


@pytest.mark.parametrize(
    'wait', [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: 1 if (x > 0).any() else 0,
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.masked_select(x > 0),
        lambda x: x.unique(),
        lambda x: torch.equal(x, x),
        lambda x: torch.allclose(x, x),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        lambda x: torch.linalg.inv(x),
        lambda x: torch.nn.functional.one_hot(x.long().clamp(0)),
        lambda x: x.index_put((x > 0, ), torch.ones(())),
        lambda x: x.repeat_interleave(torch.tensor([1, 2, 1]), dim=0),
    ],
    ids=range(16))
def test_what_is_seen(wait):
    x = torch.eye(3) + torch.rand(3, 3)
    wait(x)
    with pytest.raises(HostWaits), no_sync():
        wait(x)


def test_what_is_allowed():
    x = torch.rand(3, 3, requires_grad=True)
    with no_sync():
        picked = x[torch.tensor([0, 2])]
        picked = torch.where(picked > 0, picked, 0.)
        torch.linalg.solve_ex(x.detach() + torch.eye(3), x.detach())
        (picked / picked.sum()).sum().backward()
    with no_sync(but=['_local_scalar_dense']):
        x.sum().item()


def test_the_backward_pass_is_seen():

    class Waits(torch.autograd.Function):

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * gradient.sum().item()

    x = torch.rand(3, requires_grad=True)
    with pytest.raises(HostWaits), no_sync():
        Waits.apply(x).sum().backward()
