# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch.nn.modules.batchnorm import _BatchNorm

from mmhkt.registry import MODELS

DEFAULT_INIT = [
    dict(type='Kaiming', layer=['Conv2d']),
    dict(type='Constant', val=1, layer=['_BatchNorm'])
]


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the map's size at stride 1."""
    return nn.Conv2d(
        in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


class PadShortcut(nn.Module):
    """The shortcut without parameters, "option A" of the ResNet paper.

    Every ``stride``-th pixel is kept, and channels of zeros are added on both
    sides, half of them before and half of them after.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output, not fewer.
        stride (int): Step of the subsampling.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        x = x[:, :, ::self.stride, ::self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    The ReLUs are two modules and not in place, so that whoever reads a
    module's output by its path gets one map, as the module left it.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Stride of the first convolution. Defaults to 1.
        shortcut (str): ``'A'`` or ``'B'``, used where the shape changes.
            Defaults to ``'A'``.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 stride: int = 1,
                 shortcut: str = 'A'):
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU()
        if stride == 1 and in_channels == out_channels:
            self.downsample = nn.Identity()
        elif shortcut == 'A':
            self.downsample = PadShortcut(in_channels, out_channels, stride)
        else:
            self.downsample = nn.Sequential(
                nn.Conv2d(
                    in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu2(out + self.downsample(x))


class ThreeStageBackbone(BaseBackbone):
    """What the small CIFAR networks share: checks, freezing and modes.

    A subclass builds ``layer1``, ``layer2`` and ``layer3``, names the modules
    before them in ``stem_names`` and then calls :meth:`_freeze_stages`.

    Args:
        out_indices (Sequence[int]): Stages whose maps are returned, counted
            from 0.
        frozen_stages (int): -1 freezes nothing, 0 the stem, i the stem and
            the stages 1 to i.
        norm_eval (bool): Whether BN layers stay in eval mode.
        init_cfg (dict | list[dict], optional): Initialization config.

    Raises:
        ValueError: If ``out_indices`` or ``frozen_stages`` names a stage
            that does not exist.
    """
    stem_names: Tuple[str, ...] = ('conv1', 'bn1')

    def __init__(self, out_indices: Sequence[int], frozen_stages: int,
                 norm_eval: bool, init_cfg: Union[dict, List[dict], None]):
        super().__init__(init_cfg)
        if not out_indices or not set(out_indices) <= {0, 1, 2}:
            raise ValueError(
                f'out_indices of {type(self).__name__} must be taken from '
                f'0, 1 and 2 (three stages), got {out_indices!r}')
        if frozen_stages not in (-1, 0, 1, 2, 3):
            raise ValueError(
                f'frozen_stages of {type(self).__name__} must be between -1 '
                f'(nothing) and 3 (everything), got {frozen_stages!r}')
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

    def _blocks_per_stage(self, depth: int, offset: int) -> int:
        """Solve ``depth = 6n + offset`` for n."""
        if isinstance(depth, int) and depth >= 6 + offset \
                and (depth - offset) % 6 == 0:
            return (depth - offset) // 6
        message = (f'depth of {type(self).__name__} must be 6n + {offset} '
                   f'with a whole n >= 1, got {depth!r}')
        if isinstance(depth, (int, float)):
            below = max(int(depth - offset) // 6, 1) * 6 + offset
            nearest = [below] if depth <= below else [below, below + 6]
            message += '; nearest: ' + ' or '.join(map(str, nearest))
        raise ValueError(message)

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        names = self.stem_names + tuple(
            f'layer{i}' for i in range(1, self.frozen_stages + 1))
        for name in names:
            getattr(self, name).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode; frozen stages, and BN on demand, stay in eval."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


@MODELS.register_module()
class CIFARResNet(ThreeStageBackbone):
    """The small ResNets for 32x32 images, with 6n + 2 layers.

    From `Deep Residual Learning for Image Recognition
    <https://arxiv.org/abs/1512.03385>`_, section 4.2: a 3x3 stem and three
    stages of n blocks at strides 1, 2 and 4. mmpretrain's ``ResNet_CIFAR``
    is another network: four stages, 11 million parameters and more.

    ============  =====  ==================  ========  ===================
    name          depth  widths              shortcut  parameters
    ============  =====  ==================  ========  ===================
    resnet20      20     (16, 16, 32, 64)    A         269,722 (10 cl.)
    resnet56      56     (16, 16, 32, 64)    A         853,018 (10 cl.)
    resnet8x4     8      (32, 64, 128, 256)  B         1,233,540 (100 cl.)
    resnet32x4    32     (32, 64, 128, 256)  B         7,433,860 (100 cl.)
    ============  =====  ==================  ========  ===================

    Args:
        depth (int): Number of layers, 6n + 2. Defaults to 20.
        in_channels (int): Channels of the images. Defaults to 3.
        widths (Sequence[int]): Channels of the stem and of the three stages.
            Defaults to ``(16, 16, 32, 64)``.
        shortcut (str): What joins blocks of different shapes: ``'A'``,
            subsampling and channels of zeros, as in the paper; ``'B'``, a
            1x1 convolution with BN, as in the benchmark `RepDistiller
            <https://github.com/HobbitLong/RepDistiller>`_.
            Defaults to ``'A'``.
        out_indices (Sequence[int]): Stages whose maps are returned, counted
            from 0. Defaults to ``(2, )``.
        frozen_stages (int): Stages without gradients and in eval mode: -1
            none, 0 the stem, i the stem and the stages 1 to i.
            Defaults to -1.
        norm_eval (bool): Whether BN layers stay in eval mode.
            Defaults to False.
        init_cfg (dict | list[dict], optional): Initialization config.
            Defaults to Kaiming for convolutions and 1 for BN.

    Raises:
        ValueError: If a setting names a network that cannot be built.

    Examples:
        >>> import torch
        >>> from mmhkt.models.backbones import CIFARResNet
        >>> net = CIFARResNet(depth=20, out_indices=(0, 1, 2))
        >>> for feat in net(torch.rand(1, 3, 32, 32)):
        ...     print(tuple(feat.shape))
        (1, 16, 32, 32)
        (1, 32, 16, 16)
        (1, 64, 8, 8)
    """

    def __init__(self,
                 depth: int = 20,
                 in_channels: int = 3,
                 widths: Sequence[int] = (16, 16, 32, 64),
                 shortcut: str = 'A',
                 out_indices: Sequence[int] = (2, ),
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 init_cfg: Optional[Union[dict, List[dict]]] = DEFAULT_INIT):
        super().__init__(out_indices, frozen_stages, norm_eval, init_cfg)
        num_blocks = self._blocks_per_stage(depth, offset=2)
        widths = tuple(widths)
        if len(widths) != 4 or not all(
                isinstance(w, int) and w > 0 for w in widths):
            raise ValueError('widths of CIFARResNet must be 4 positive whole '
                             'numbers (stem and three stages), such as '
                             f'(16, 16, 32, 64), got {widths!r}')
        if shortcut not in ('A', 'B'):
            raise ValueError("shortcut of CIFARResNet must be 'A' (no "
                             "parameters) or 'B' (1x1 convolution and BN), "
                             f'got {shortcut!r}')
        if shortcut == 'A' and list(widths) != sorted(widths):
            raise ValueError("widths of CIFARResNet with shortcut='A', which "
                             'only adds channels, must not decrease: got '
                             f"{widths!r}; use shortcut='B' for these")

        self.conv1 = conv3x3(in_channels, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        for i, stride in enumerate((1, 2, 2)):
            blocks = [BasicBlock(widths[i], widths[i + 1], stride, shortcut)]
            blocks += [
                BasicBlock(widths[i + 1], widths[i + 1], 1, shortcut)
                for _ in range(num_blocks - 1)
            ]
            self.add_module(f'layer{i + 1}', nn.Sequential(*blocks))
        self._freeze_stages()

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, ...]:
        """Compute the maps of the chosen stages.

        Args:
            x (torch.Tensor): Images of shape (N, in_channels, H, W).

        Returns:
            tuple[torch.Tensor]: One map for each of ``out_indices``, of shape
            (N, widths[i + 1], H / 2**i, W / 2**i).
        """
        x = self.relu(self.bn1(self.conv1(x)))
        outs = []
        for i, stage in enumerate((self.layer1, self.layer2, self.layer3)):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
