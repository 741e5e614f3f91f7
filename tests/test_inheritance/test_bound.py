# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from torch import nn

from mmhkt.inheritance import bound_gradients


def parameters(*pairs):
    found = []
    for weights, gradient in pairs:
        found.append(nn.Parameter(torch.tensor(weights)))
        if gradient is not None:
            found[-1].grad = torch.tensor(gradient)
    return found


def test_by_hand():
    """Weights of norm 5, gradients of norm 10: at most 0.2 x 5 is left."""
    one, other, frozen = parameters(([3., 0.], [0., 8.]), ([4.], [6.]),
                                    ([7.], None))
    bound_gradients([one, other, frozen], 0.2)
    assert one.grad.tolist() == pytest.approx([0., 0.8])
    assert other.grad.tolist() == pytest.approx([0.6])
    assert frozen.grad is None
    # Smaller ones stay as they are, to the bit.
    before = one.grad.clone()
    bound_gradients([one, other, frozen], 0.3)
    assert torch.equal(one.grad, before)


@pytest.mark.parametrize('rate, left', [(0.0, 1.), (0.01, 1.), (0.1, 1.),
                                        (0.4, 0.25), (10., 0.01)])
def test_above_a_rate_of_a_tenth_the_step_is_bounded(rate, left):
    """Weights of norm 5: a gradient of 1, or a step of 0.1."""
    one, = parameters(([3., 4.], [0., 10.]))
    bound_gradients([one], 0.2, rate=rate)
    assert one.grad.norm().item() == pytest.approx(left)


def test_zeros_stay_zeros():
    still, = parameters(([3., 4.], [0., 0.]))
    bound_gradients([still], 0.2)
    assert still.grad.tolist() == [0., 0.]
    bound_gradients([], 0.2)
    bound_gradients(parameters(([1.], None)), 0.2)


def test_what_a_gradient_scaler_has_multiplied():
    scaled, plain = parameters(([3., 4.], [0., 1280.]), ([3., 4.], [0., 10.]))
    bound_gradients([scaled], 0.2, scale=torch.tensor(128.))
    bound_gradients([plain], 0.2)
    assert torch.allclose(scaled.grad / 128, plain.grad)


def test_half_precision_does_not_overflow():
    half = nn.Parameter(torch.full((100, ), 300., dtype=torch.float16))
    half.grad = torch.full((100, ), 60000., dtype=torch.float16)
    bound_gradients([half], 0.1)
    assert half.grad.float().norm().item() == pytest.approx(300., rel=1e-2)


def test_double_precision():
    weight = nn.Parameter(torch.full((4, ), 2., dtype=torch.float64))
    weight.grad = torch.full_like(weight, 100.)
    bound_gradients([weight], 0.5)
    assert weight.grad.tolist() == pytest.approx([1.] * 4)
