# Copyright (c) mmhkt authors. All rights reserved.
from dataclasses import dataclass
from typing import List, Tuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import BaseDataset

from mmhkt.registry import DATASETS
from .pair import make_pair


@dataclass(frozen=True)
class Motion:
    """How far a layer moves at most: pixels, degrees, parts of its size."""
    shift: float
    rotation: float
    scale: float


BACKGROUND = Motion(shift=6, rotation=5, scale=0.05)
OBJECT = Motion(shift=8, rotation=12, scale=0.1)
# Distances between the random values of a texture, in pixels.
OCTAVES = (32, 16, 8, 4, 2)
# An object's radius as a part of the image's shorter side.
RADIUS = (0.12, 0.28)
# Width of an object's soft edge, in pixels.
EDGE = 0.7
# How much a frame's brightness varies, and its noise in grey levels.
GAIN = 0.1
NOISE = 4.0


@DATASETS.register_module()
class SyntheticFlow(BaseDataset):
    """Pairs of rendered frames with exact flow, from nothing but a seed.

    Blob-shaped objects before a background, each with a texture of coloured
    noise and an affine motion of its own: 6 px, 5 degrees and 5 % at most for
    the background, 8 px, 12 degrees and 10 % for the objects. The flow of a
    pixel is that of the topmost layer in the first frame, also where the
    second frame does not show it any more. Frames differ in brightness and
    noise.

    A pair depends on seed, size and its number alone: neither on the length
    nor on what was drawn before.

    Args:
        length (int): Number of pairs. Defaults to 1600.
        size (tuple[int, int]): Height and width in pixels. Defaults to
            (96, 96).
        seed (int): Another seed gives other pairs. Defaults to 0.
        objects (int): Number of objects. Defaults to 3.
        **kwargs: Other arguments of :class:`mmengine.dataset.BaseDataset`,
            such as ``pipeline`` and ``indices``.

    Examples:
        >>> from mmhkt.datasets import SyntheticFlow
        >>> pair = SyntheticFlow(length=10, seed=1)[3]
        >>> pair['img1'].shape, pair['gt_flow'].shape
        ((96, 96, 3), (96, 96, 2))
    """

    def __init__(self,
                 length: int = 1600,
                 size: Tuple[int, int] = (96, 96),
                 seed: int = 0,
                 objects: int = 3,
                 **kwargs):
        self.length = length
        self.size = tuple(size)
        self.seed = seed
        self.objects = objects
        super().__init__(**kwargs)

    def load_data_list(self) -> List[dict]:
        """Number the pairs."""
        return [
            dict(
                number=i,
                img_path=f'synthetic pair {i} of seed {self.seed}',
                subset='SyntheticFlow') for i in range(self.length)
        ]

    def get_data_info(self, idx: int) -> dict:
        """Render a pair.

        Args:
            idx (int): The number of the pair.

        Returns:
            dict: See :func:`mmhkt.datasets.flow.make_pair`.
        """
        info = super().get_data_info(idx)
        rng = np.random.default_rng((self.seed, info.pop('number')))
        frames, flow = render(rng, self.size, self.objects)
        return dict(info, **make_pair(*frames, flow))

    def extra_repr(self) -> List[str]:
        """The extra repr information of the dataset."""
        return [f'Size: \t{self.size}', f'Seed: \t{self.seed}']


def render(rng: np.random.Generator, size: Tuple[int, int],
           objects: int) -> Tuple[List[np.ndarray], np.ndarray]:
    """Draw a scene and how it moves.

    Returns:
        tuple: Both frames, uint8, (H, W, 3), and the flow, float32,
        (H, W, 2).
    """
    height, width = size
    # (H, W, 2), x before y, as flow has it.
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)),
                      -1).astype(np.float32)
    # As far as the background can come in from outside, roughly.
    margin = int(BACKGROUND.shift + 0.08 * (height + width)) + 2
    layers = [
        _Layer(rng, pixels, margin, is_object=number > 0)
        for number in range(objects + 1)
    ]
    textures = torch.from_numpy(np.stack([la.texture for la in layers]))
    # What the second frame shows at a pixel was where it came from.
    sources = [[pixels for _ in layers], [la.source(pixels) for la in layers]]
    flow = layers[0].target(pixels) - pixels
    frames = []
    for number, coordinates in enumerate(sources):
        colours = _look_up(textures, np.stack(coordinates) + margin)
        frame = colours[0]
        for layer, colour, where in zip(layers[1:], colours[1:],
                                        coordinates[1:]):
            cover = layer.cover(where)[..., None]
            frame = frame + cover * (colour - frame)
            if number == 0:
                flow = np.where(cover > 0.5,
                                layer.target(pixels) - pixels, flow)
        frame = frame * (1 + rng.uniform(-GAIN, GAIN))
        frame += NOISE * rng.standard_normal(frame.shape, np.float32)
        frames.append(np.round(np.clip(frame, 0, 255)).astype(np.uint8))
    return frames, flow


class _Layer:
    """A texture, a shape and a motion."""

    def __init__(self, rng: np.random.Generator, pixels: np.ndarray,
                 margin: int, is_object: bool):
        size = pixels.shape[:2]
        self.texture = _texture(rng, [length + 2 * margin for length in size])
        centre = rng.uniform(size=2) if is_object else 0.5
        self.centre = np.float32(centre * np.array(size[::-1]))
        motion = OBJECT if is_object else BACKGROUND
        self.shift = np.float32(motion.shift * rng.uniform(-1, 1, 2))
        angle = np.deg2rad(motion.rotation) * rng.uniform(-1, 1)
        scale = 1 + motion.scale * rng.uniform(-1, 1)
        sine, cosine = np.sin(angle), np.cos(angle)
        self.matrix = np.float32(scale) * np.array(
            [[cosine, -sine], [sine, cosine]], np.float32)
        # A circle with two, three and four waves around it.
        self.radius = rng.uniform(*RADIUS) * min(size)
        self.waves = np.complex64(
            rng.uniform(0, 0.15, 3) * np.exp(2j * np.pi * rng.uniform(size=3)))

    def target(self, points: np.ndarray) -> np.ndarray:
        """Where points of the first frame go."""
        return (points -
                self.centre) @ self.matrix.T + self.centre + self.shift

    def source(self, points: np.ndarray) -> np.ndarray:
        """Where points of the second frame come from."""
        inverse = np.linalg.inv(self.matrix)
        return (points - self.centre - self.shift) @ inverse.T + self.centre

    def cover(self, points: np.ndarray) -> np.ndarray:
        """How much points of the first frame are covered, from 0 to 1."""
        x, y = np.moveaxis(points - self.centre, -1, 0)
        distance = np.hypot(x, y)
        # cos(k angle + phase) is the real part of a power.
        turn = (x + 1j * y) / np.maximum(distance, 1e-6)
        power, edge = turn, np.ones_like(distance)
        for wave in self.waves:
            power = power * turn
            edge += (wave * power).real
        inwards = self.radius * edge - distance
        return 0.5 + 0.5 * np.tanh(inwards / (2 * EDGE))


def _texture(rng: np.random.Generator, size: List[int]) -> np.ndarray:
    """Coloured noise, float32, (3, H, W), about within 0 to 255."""
    roughness = rng.uniform(0.2, 1)
    texture = np.zeros((1, 1, 3), np.float32)
    for distance in OCTAVES:
        shape = [-(-length // distance) + 2 for length in size]
        noise = rng.standard_normal((*shape, 3), np.float32)
        # The three channels have most of what they show in common.
        noise = 0.6 * noise + 0.8 * noise.mean(2, keepdims=True)
        texture = _resize(texture, shape) + distance**roughness * noise
    texture = _resize(texture, size)
    texture -= texture.mean((0, 1))
    texture *= rng.uniform(25, 55) / texture.std()
    texture += np.float32(rng.uniform(70, 185, 3))
    return texture.transpose(2, 0, 1)


def _resize(image: np.ndarray, size: List[int]) -> np.ndarray:
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)


def _look_up(textures: torch.Tensor, coordinates: np.ndarray) -> np.ndarray:
    """Bilinear values of (L, 3, H, W) at (L, h, w, 2): (L, h, w, 3)."""
    height, width = textures.shape[-2:]
    span = np.float32([width - 1, height - 1])
    grid = torch.from_numpy(2 * coordinates / span - 1)
    values = F.grid_sample(
        textures, grid, padding_mode='reflection', align_corners=True)
    return values.permute(0, 2, 3, 1).numpy()
