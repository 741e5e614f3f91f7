# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch

from mmhkt.models.flow import SequenceLoss


def as_published(predictions, flow, valid, gamma, max_flow):
    """The definition, with a loop over the updates and one over pixels."""
    updates, batch, _, height, width = predictions.shape
    loss = 0.0
    for i in range(updates):
        total = 0.0
        for b in range(batch):
            for row in range(height):
                for column in range(width):
                    u, v = flow[b, :, row, column].tolist()
                    if not valid[b, row, column] or (u * u +
                                                     v * v)**0.5 >= max_flow:
                        continue
                    p, q = predictions[i, b, :, row, column].tolist()
                    total += abs(p - u) + abs(q - v)
        mean = total / (batch * 2 * height * width)
        loss += gamma**(updates - 1 - i) * mean
    return loss


def test_by_hand():
    # One pixel, two updates, off by 3 + 1 and then by 1 + 0 px.
    predictions = torch.tensor([[5., 3.], [3., 4.]]).view(2, 1, 2, 1, 1)
    flow = torch.tensor([2., 4.]).view(1, 2, 1, 1)
    valid = torch.ones(1, 1, 1, dtype=torch.bool)
    loss = SequenceLoss(gamma=0.5)(predictions, flow, valid)
    assert loss.item() == 0.5 * (3 + 1) / 2 + (1 + 0) / 2


@pytest.mark.parametrize('gamma', [0.8, 0.85, 1.0])
def test_equals_the_published_definition(gamma):
    rng = torch.Generator().manual_seed(0)
    flow = torch.randn(2, 2, 5, 7, generator=rng) * 3
    flow[0, 0, 1, 2] = 500  # above the cap
    flow[1, :, 3, 3] = torch.tensor([240., 320.])  # 400 px: on it
    flow[1, :, 3, 4] = torch.tensor([240., 319.])  # just below
    valid = torch.rand(2, 5, 7, generator=rng) > 0.3
    valid[0, 1, 2] = valid[1, 3, 3:5] = True
    predictions = flow + torch.randn(4, 2, 2, 5, 7, generator=rng)
    loss = SequenceLoss(gamma)(predictions, flow, valid)
    wanted = as_published(predictions, flow, valid, gamma, 400)
    assert loss.item() == pytest.approx(wanted, rel=1e-5)


def test_what_does_not_count_does_no_harm():
    predictions = torch.zeros(2, 1, 2, 2, 2, requires_grad=True)
    flow = torch.tensor([[1., float('nan')], [float('inf'), 500.]])
    flow = torch.stack([flow, torch.zeros(2, 2)])[None]
    valid = torch.tensor([[[True, False], [False, True]]])
    loss = SequenceLoss()(predictions, flow, valid)
    loss.backward()
    assert loss.item() == pytest.approx(1.8 / 8)
    assert predictions.grad.isfinite().all()
    assert predictions.grad.count_nonzero() == 2


def test_nothing_counts():
    predictions = torch.ones(2, 1, 2, 2, 2, requires_grad=True)
    loss = SequenceLoss()(predictions, torch.zeros(1, 2, 2, 2),
                          torch.zeros(1, 2, 2, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and predictions.grad.count_nonzero() == 0


@pytest.mark.parametrize('settings', [
    dict(gamma=0),
    dict(gamma=1.2),
    dict(max_flow=0),
    dict(max_flow=float('nan'))
])
def test_wrong_setting(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SequenceLoss(**settings)
