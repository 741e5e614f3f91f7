# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import torch
from torchvision.utils import flow_to_image

from mmhkt.visualization import colour_error, colour_flow, largest_speed


def noise(*size):
    return 5 * torch.randn(2, *size, generator=torch.manual_seed(0))


def test_own_scale_is_torchvisions():
    flow = noise(6, 9)
    wanted = flow_to_image(flow).permute(1, 2, 0).numpy()
    found = colour_flow(flow)
    assert found.dtype == np.uint8 and found.shape == (6, 9, 3)
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_one_scale_for_two():
    """Half the flow on the scale of the whole is half as saturated."""
    flow = torch.zeros(2, 4, 4)
    flow[0] = 8
    whole, half = colour_flow(flow, 8), colour_flow(flow / 2, 8)
    assert (whole == colour_flow(flow)).all()
    away = 255 - whole[0, 0].astype(float)
    assert np.abs(255 - half[0, 0] - away / 2).max() <= 1
    # Faster than the scale is shown as the scale, in its own direction.
    assert (colour_flow(3 * flow, 8) == whole).all()


def test_no_motion_is_white():
    assert (colour_flow(torch.zeros(2, 3, 3)) == 255).all()


def test_unknown_is_black_and_does_not_count():
    flow = noise(4, 4)
    flow[:, 0, 0] = 1e9
    flow[:, 1, 1] = float('nan')
    valid = torch.ones(4, 4, dtype=torch.bool)
    valid[0, 0] = False
    image = colour_flow(flow, valid=valid)
    assert (image[0, 0] == 0).all() and (image[1, 1] == 0).all()
    assert (image[2:] > 0).any(-1).all()
    # Saturated by the largest that is known.
    assert image[2:].min() < 200
    assert largest_speed(torch.zeros(2, 0, 0)) == 0


def test_error_is_black_only_where_unknown():
    error = torch.tensor([[0., 2.5, 5., 50., float('nan')]])
    image = colour_error(error, 5.)[0].astype(int)
    assert (image.sum(-1) > 0).all()
    assert (image[2] == image[3]).all() and (image[2] == image[4]).all()
    # From dark to bright.
    assert (np.diff(image[:3].sum(-1)) > 0).all()
    valid = torch.tensor([[True, False, True, True, True]])
    masked = colour_error(error, 5., valid)[0]
    assert (masked[1] == 0).all() and (masked[0] == image[0]).all()
