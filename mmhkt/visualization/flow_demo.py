# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt flow`` does: estimate and draw."""
import sys
from argparse import Namespace
from pathlib import Path
from typing import Iterator, Optional

import cv2
import numpy as np
import torch
from mmengine.device import get_device
from rich.console import Console
from rich.progress import track

from mmhkt.cli.flow import CODECS
from mmhkt.models import build_network
from mmhkt.models.tasks import OpticalFlow
from mmhkt.utils import (STRIP_MODULE, load_strictly, read_checkpoint,
                         weights_of)
from mmhkt.utils.config import ConfigError, load_config, require


def run(args: Namespace) -> None:
    """Do what the command line says."""
    for path in args.inputs:
        if not Path(path).is_file():
            raise FileNotFoundError(f'there is no file {path}')
    estimate = Estimator(args)
    if len(args.inputs) == 2:
        show_pair(args, estimate)
    else:
        show_video(args, estimate)


class Estimator:
    """The network of a config, and from a pair of frames to a picture."""

    def __init__(self, args):
        cfg = load_config(args.config, args.cfg_options)
        require(cfg, ('model', ))
        self.network = build_network(cfg)
        if not OpticalFlow.owns(self.network):
            raise ConfigError(f'config {args.config} is of a '
                              f'{type(self.network).__name__}, which is no '
                              f'network for flow ({OpticalFlow.networks})')
        if args.checkpoint is not None:
            checkpoint = read_checkpoint(args.checkpoint,
                                         cfg.get('trusted', False))
            load_strictly(
                self.network,
                weights_of(checkpoint, cfg.get('revise_keys', STRIP_MODULE)),
                f'The checkpoint "{args.checkpoint}"')
        elif cfg.model.get('weights'):
            self.network.init_weights()
        else:
            raise ConfigError('no weights are given: add --checkpoint, or '
                              '--cfg-options model.weights=NAME')
        self.network.to(get_device()).eval()
        self.is_fixed = args.scale is not None
        self.scale = args.scale or 0.

    @torch.no_grad()
    def flow(self,
             img1: np.ndarray,
             img2: np.ndarray,
             what: str,
             start: Optional[torch.Tensor] = None) -> torch.Tensor:
        """Estimate.

        Args:
            img1 (np.ndarray): First frame, RGB, uint8, (H, W, 3).
            img2 (np.ndarray): Second frame.
            what (str): What errors call them.
            start (Tensor, optional): A flow to begin from. Defaults to None.

        Returns:
            Tensor: (2, H, W), in pixels.

        Raises:
            ValueError: If the frames differ in size or are too small.
        """
        from mmengine.dataset import pseudo_collate

        from mmhkt.datasets.flow import PackFlowInputs
        from mmhkt.datasets.flow.pair import make_pair

        packed = PackFlowInputs().transform(make_pair(img1, img2, what=what))
        if start is not None:
            packed['data_samples'].init_flow = start
        return self.network.test_step(pseudo_collate([packed]))[0].pred_flow

    def picture(self, frame: np.ndarray, flow: torch.Tensor) -> np.ndarray:
        """The frame and its flow, BGR: below each other if they are wide,
        else beside each other."""
        from mmhkt.visualization import colour_flow, largest_speed

        if not self.is_fixed:
            # A scale of each pair's own would make a video flicker.
            self.scale = max(self.scale, largest_speed(flow))
        height, width = frame.shape[:2]
        both = np.concatenate([frame, colour_flow(flow, self.scale)],
                              axis=0 if width > height else 1)
        return np.ascontiguousarray(both[..., ::-1])


def show_pair(args, estimate: Estimator) -> None:
    """Write the picture of two images."""
    frames = [read_image(path) for path in args.inputs]
    flow = estimate.flow(*frames, what=' and '.join(args.inputs))
    write_image(estimate.picture(frames[0], flow), args.out)
    tell(args.out, estimate.scale)


def show_video(args, estimate: Estimator) -> None:
    """Write the video, or the pictures, of a video."""
    import mmcv

    from mmhkt.models.flow import carry_forward

    path = args.inputs[0]
    video = mmcv.VideoReader(path)
    if video.frame_cnt < 1 or video.width < 1:
        raise ValueError(f'{path} cannot be read as a video (of images '
                         'give two)')
    if video.frame_cnt < 2:
        raise ValueError(f'{path} has one frame only; flow takes two')
    writer = Writer(args.out, video.fps)
    pairs = track(
        pairs_of(video),
        'estimating',
        total=video.frame_cnt - 1,
        console=Console(stderr=True),
        transient=True)
    flow = None
    try:
        for img1, img2 in pairs:
            start = None
            if args.warm_start and flow is not None:
                start = carry_forward(flow)
            flow = estimate.flow(img1, img2, path, start)
            writer.write(estimate.picture(img1, flow))
    finally:
        writer.close()
    if writer.count == 0:
        raise ValueError(f'{path}: no two frames can be read')
    writer.finish()
    if writer.count < video.frame_cnt - 1:
        print(
            f'mmhkt: {path} ends early: it announces {video.frame_cnt} '
            f'frames, of which {writer.count + 1} can be read',
            file=sys.stderr)
    tell(args.out, estimate.scale)


def pairs_of(video) -> Iterator[tuple]:
    """Each frame of a video with the next, RGB."""
    before = None
    for frame in video:
        frame = np.ascontiguousarray(frame[..., ::-1])
        if before is not None:
            yield before, frame
        before = frame


class Writer:
    """Writes pictures, BGR, to a video or, numbered, into a folder.

    Args:
        path (Path): Of the video, which gets this name when it is complete,
            or of the folder.
        fps (float): Of the video.
    """

    def __init__(self, path: Path, fps: float):
        self.path = path
        self.partial = path.with_name(f'{path.stem}.partial{path.suffix}')
        self.fps = fps or 25.
        self.is_video = path.suffix != ''
        self.count = 0
        self._video = None

    def write(self, image: np.ndarray) -> None:
        """Add a picture.

        Raises:
            ValueError: If the video cannot be written.
        """
        if self.is_video:
            # Codecs want even sizes.
            rows, columns = (length % 2 for length in image.shape[:2])
            image = np.pad(
                image, [(0, rows), (0, columns), (0, 0)], mode='edge')
            if self._video is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                codec = CODECS[self.path.suffix.lower()]
                self._video = cv2.VideoWriter(
                    str(self.partial), cv2.VideoWriter_fourcc(*codec),
                    self.fps, image.shape[1::-1])
                if not self._video.isOpened():
                    raise ValueError(f'{self.path} cannot be written; try '
                                     'another ending, or a folder')
            self._video.write(image)
        else:
            write_image(image, self.path / f'{self.count:06d}.png')
        self.count += 1

    def close(self) -> None:
        """Write no more; a video that was cut off keeps its partial name."""
        if self._video is not None:
            self._video.release()

    def finish(self) -> None:
        """Give a complete video its name."""
        if self.is_video:
            self.partial.replace(self.path)


def read_image(path: str) -> np.ndarray:
    """An image, RGB, uint8, (H, W, 3).

    Raises:
        ValueError: If it cannot be read.
    """
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path} cannot be read as an image')
    return np.ascontiguousarray(image[..., ::-1])


def write_image(image: np.ndarray, path: Path) -> None:
    """Write an image, BGR, so that it is there whole or not at all."""
    from mmhkt.utils.files import replaced

    path.parent.mkdir(parents=True, exist_ok=True)
    _, code = cv2.imencode(path.suffix, image)
    with replaced(path) as partial:
        partial.write_bytes(code.tobytes())


def tell(path: Path, scale: float) -> None:
    """Say what was written."""
    print(f'written: {path}, full saturation: {scale:.3g} px a frame')
