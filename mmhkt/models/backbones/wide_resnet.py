# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.nn as nn

from mmhkt.registry import MODELS
from .cifar_resnet import DEFAULT_INIT, ThreeStageBackbone, conv3x3


class PreActBlock(nn.Module):
    """BN and ReLU before each of two 3x3 convolutions, and a shortcut.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Stride of the first convolution. Defaults to 1.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU()
        self.conv2 = conv3x3(out_channels, out_channels)
        self.same_shape = stride == 1 and in_channels == out_channels
        self.downsample = nn.Identity() if self.same_shape else nn.Conv2d(
            in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        out = self.relu1(self.bn1(x))
        # A shortcut with a convolution starts from the activated map, one
        # without starts from the map itself.
        identity = self.downsample(x if self.same_shape else out)
        out = self.conv1(out)
        out = self.conv2(self.relu2(self.bn2(out)))
        return out + identity


@MODELS.register_module()
class WideResNet(ThreeStageBackbone):
    """The pre-activation networks WRN-depth-widen_factor for 32x32 images.

    From `Wide Residual Networks <https://arxiv.org/abs/1605.07146>`_, without
    dropout. With 100 classes WRN-16-2 has 703,284 parameters, WRN-40-1
    569,780 and WRN-40-2 2,255,156.

    Args:
        depth (int): Number of layers, 6n + 4. Defaults to 16.
        widen_factor (int): The stages have 16, 32 and 64 times as many
            channels. Defaults to 2.
        in_channels (int): Channels of the images. Defaults to 3.
        out_indices (Sequence[int]): Stages whose maps are returned, counted
            from 0. Defaults to ``(2, )``.
        frozen_stages (int): Stages without gradients and in eval mode: -1
            none, 0 the stem, i the stem and the stages 1 to i. The last BN
            belongs to no stage and is never frozen. Defaults to -1.
        norm_eval (bool): Whether BN layers stay in eval mode.
            Defaults to False.
        init_cfg (dict | list[dict], optional): Initialization config.
            Defaults to Kaiming for convolutions and 1 for BN.

    Raises:
        ValueError: If a setting names a network that cannot be built.
    """
    stem_names = ('conv1', )

    def __init__(self,
                 depth: int = 16,
                 widen_factor: int = 2,
                 in_channels: int = 3,
                 out_indices: Sequence[int] = (2, ),
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 init_cfg: Optional[Union[dict, List[dict]]] = DEFAULT_INIT):
        super().__init__(out_indices, frozen_stages, norm_eval, init_cfg)
        num_blocks = self._blocks_per_stage(depth, offset=4)
        if not isinstance(widen_factor, int) or widen_factor < 1:
            raise ValueError('widen_factor of WideResNet must be a whole '
                             f'number from 1 on, got {widen_factor!r}')

        widths = (16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor)
        self.conv1 = conv3x3(in_channels, widths[0])
        for i, stride in enumerate((1, 2, 2)):
            blocks = [PreActBlock(widths[i], widths[i + 1], stride)]
            blocks += [
                PreActBlock(widths[i + 1], widths[i + 1])
                for _ in range(num_blocks - 1)
            ]
            self.add_module(f'layer{i + 1}', nn.Sequential(*blocks))
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.relu = nn.ReLU()
        self._freeze_stages()

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, ...]:
        """Compute the maps of the chosen stages.

        Args:
            x (torch.Tensor): Images of shape (N, in_channels, H, W).

        Returns:
            tuple[torch.Tensor]: One map for each of ``out_indices``, of shape
            (N, 16 * widen_factor * 2**i, H / 2**i, W / 2**i). The last
            stage's map has passed the network's last BN and ReLU, the others
            are as their stage leaves them.
        """
        x = self.conv1(x)
        outs = []
        for i, stage in enumerate((self.layer1, self.layer2, self.layer3)):
            x = stage(x)
            if i == 2:
                x = self.relu(self.bn1(x))
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
