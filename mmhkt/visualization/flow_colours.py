# Copyright (c) mmhkt authors. All rights reserved.
from typing import Optional

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import flow_to_image

# Its zero is no black, which stands for what is not known.
ERROR_COLOURS = cv2.COLORMAP_VIRIDIS


def largest_speed(flow: Tensor, valid: Optional[Tensor] = None) -> float:
    """The largest length of a flow's vectors, in pixels; 0 of none.

    Args:
        flow (Tensor): (2, H, W), in pixels.
        valid (Tensor, optional): Where it is known, bool, (H, W). Defaults
            to None, everywhere.
    """
    speeds = flow.norm(dim=0)
    speeds = speeds[torch.isfinite(speeds) if valid is None else valid]
    return float(speeds.max()) if speeds.numel() else 0.0


def colour_flow(flow: Tensor,
                scale: Optional[float] = None,
                valid: Optional[Tensor] = None) -> np.ndarray:
    """Flow as colours: the hue is the direction, the saturation the speed.

    Args:
        flow (Tensor): (2, H, W), in pixels.
        scale (float, optional): The speed of full saturation, in pixels;
            faster is shown as this. Defaults to None, the largest speed.
        valid (Tensor, optional): Where it is known, bool, (H, W); elsewhere
            it is black. Defaults to None, wherever it is finite.

    Returns:
        np.ndarray: RGB, uint8, (H, W, 3).
    """
    flow = flow.detach().float().cpu()
    known = torch.isfinite(flow).all(0)
    if valid is not None:
        known &= valid.cpu()
    flow = torch.where(known, flow, 0)
    if scale is None:
        scale = largest_speed(flow)
    scale = max(scale, 1e-6)
    speed = flow.norm(dim=0)
    flow = flow * (scale / speed.clamp(min=scale))
    # torchvision scales by the largest speed that it is shown: a column of
    # that speed is added and cut off again.
    flow = F.pad(flow, (0, 1))
    flow[0, :, -1] = scale
    image = flow_to_image(flow)[:, :, :-1]
    return (image * known).permute(1, 2, 0).numpy()


def colour_error(error: Tensor,
                 scale: float = 5.0,
                 valid: Optional[Tensor] = None) -> np.ndarray:
    """End-point errors as colours, from dark blue (0) to yellow.

    Args:
        error (Tensor): (H, W), in pixels.
        scale (float): The error from which on it is yellow, in pixels.
            Defaults to 5.
        valid (Tensor, optional): Where it is known, bool, (H, W); elsewhere
            it is black. Defaults to None, everywhere.

    Returns:
        np.ndarray: RGB, uint8, (H, W, 3).
    """
    # What is not finite is as wrong as can be.
    error = torch.nan_to_num(error.detach().float().cpu(), nan=np.inf)
    grey = (error / scale).clamp(0, 1).mul(255).byte().numpy()
    image = cv2.applyColorMap(grey, ERROR_COLOURS)[..., ::-1]
    if valid is not None:
        image = image * valid.cpu().numpy()[..., None]
    return np.ascontiguousarray(image)
