# Copyright (c) mmhkt authors. All rights reserved.
"""Batches that are not finite, and those with one image."""
import copy
import math

import pytest
import torch
from distiller_helpers import ALL, distiller, loss_of, step_of
from torch import nn

from mmhkt.methods.adapter_norm import AdapterNorm

# What compares the images of a batch finds nothing in a single one.
OF_BATCHES = ['CC', 'PKT', 'RKD', 'SP']


def trained(method, bad=None):
    """Losses of three steps, of which the last one has one image.

    Args:
        method (Distiller): It is trained.
        bad (dict, optional): Number of a step -> (side, value) of the batch
            before it. That step is skipped, as a gradient scaler does.
    """
    optimiser = torch.optim.SGD(
        [*method.parameters(),
         nn.Parameter(torch.zeros(()))], 1e-4)
    losses = []
    for i, images in enumerate(([0, 1, 2], [3, 1, 4], [5])):
        if i in (bad or {}):
            side, value = bad[i]
            step = step_of(method, [1, 2, 3], seed=9)
            for feature in getattr(step, side).values():
                feature.data[0, 0] = value
            loss_of(method, step).backward()
        optimiser.zero_grad()
        torch.manual_seed(i)
        loss = loss_of(method, step_of(method, images, seed=i))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize('value', [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize('side', ['q', 'z'])
@pytest.mark.parametrize('when', [0, 1])
@pytest.mark.parametrize('name', ALL)
def test_a_batch_that_is_not_finite_is_forgotten(name, when, side, value):
    method = distiller(name)
    plain = copy.deepcopy(method)
    losses = trained(method, {when: (side, value)})
    expected = trained(plain)
    assert losses[:2] == expected[:2]
    assert all(math.isfinite(loss) for loss in losses + expected)
    if side == 'q':
        # Else the norms have seen one batch more of the child, a finite one.
        assert losses == expected
    for key, stays in method.state_dict().items():
        assert stays.isfinite().all(), key


@pytest.mark.parametrize('images', [[0], [0, 1], [2, 2]])
@pytest.mark.parametrize('name', ALL)
def test_one_and_two_images(name, images):
    method = distiller(name)
    for seed in range(2):
        step = step_of(method, images, seed)
        loss = loss_of(method, step)
        loss.backward()
        assert loss.isfinite()
        for feature in step.q.values():
            assert feature.grad.isfinite().all()
    # Distributed runs wait for each parameter.
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    if len(images) == 1 and name in OF_BATCHES:
        assert loss == 0
        assert all(not feature.grad.any() for feature in step.q.values())


def test_one_image_has_no_correlation_over_images():
    method = distiller('DIST', weights=dict(inter=0.))
    step = step_of(method, [0])
    loss = loss_of(method, step)
    loss.backward()
    assert loss == 0 and not step.q['c0'].grad.any()


@pytest.mark.parametrize('kernel', ['gaussian', 'bilinear'])
def test_kernels_of_one_image(kernel):
    method = distiller('CC', kernel=kernel)
    loss = loss_of(method, step_of(method, [0]))
    assert loss.abs() < 1e-12


def both_norms():
    torch.manual_seed(0)
    ours, torchs = AdapterNorm(3), nn.BatchNorm2d(3)
    with torch.no_grad():
        ours.weight.uniform_()
        ours.bias.uniform_()
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


def test_norm_is_torchs_where_there_are_several_values():
    ours, torchs = both_norms()
    for _ in range(3):
        x = 2 * torch.randn(2, 3, 4, 4) + 1
        assert torch.equal(ours(x), torchs(x))
    assert torch.equal(ours.running_mean, torchs.running_mean)
    assert torch.equal(ours.running_var, torchs.running_var)
    assert torch.equal(ours.eval()(x), torchs.eval()(x))


def test_norm_of_one_value_is_that_of_evaluation():
    ours, torchs = both_norms()
    for norm in (ours, torchs):
        norm(2 * torch.randn(2, 3, 4, 4) + 1)
    torchs.load_state_dict(ours.state_dict())
    before = copy.deepcopy(ours.state_dict())
    x = torch.randn(1, 3, 1, 1)
    with pytest.raises(ValueError, match='more than 1 value'):
        torchs(x)
    assert torch.equal(ours(x), torchs.eval()(x))
    for key, value in ours.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize('value', [math.inf, math.nan, 1e30])
def test_norm_keeps_its_statistics_finite(value):
    ours, _ = both_norms()
    ours(torch.randn(2, 3, 4, 4))
    before = copy.deepcopy(ours.state_dict())
    x = torch.randn(2, 3, 4, 4)
    x[0, 0, 0, 0] = value
    ours(x)
    for key, stays in ours.state_dict().items():
        assert torch.equal(stays, before[key])


def test_norm_lets_buffers_change_before_the_backward_pass():
    """As distributed runs do, which send them out at each forward pass."""
    ours, _ = both_norms()
    loss = ours(torch.randn(2, 3, 4, 4)).square().sum()
    with torch.no_grad():
        ours.running_mean.add_(0.)
    loss.backward()
    assert ours.weight.grad.isfinite().all()
