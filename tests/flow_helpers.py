# Copyright (c) mmhkt authors. All rights reserved.
"""Tiny trees of the flow data sets, in the formats of the real ones, and a
tiny training."""
import uuid

import cv2
import mmcv
import numpy as np
from helpers import CONFIGS
from PIL import Image

from mmhkt.utils.config import load_config

SIZE = (16, 24)


def write_frame(path, value=0, size=SIZE):
    """A frame of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def write_flow(path, value=1., size=SIZE):
    """A flow that is the same everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flow = np.full((*size, 2), value, '<f4')
    if path.suffix == '.flo':
        mmcv.flowwrite(flow, str(path))
    elif path.suffix == '.pfm':
        # Three values a pixel, of which the last is not used.
        path.write_bytes(b'PF\n%d %d\n-1.0\n' % size[::-1] +
                         np.pad(flow, [(0, 0), (0, 0), (0, 1)]).tobytes())
    else:
        # KITTI's: 16 bits, blue says whether the flow is known.
        image = np.zeros((*size, 3), np.uint16)
        image[::2, :, 0] = 1
        image[::2, :, :0:-1] = 2**15 + 64 * flow[::2]
        cv2.imwrite(str(path), image)


def write_chairs_tree(root):
    """Three pairs, of which the second is for validation."""
    folder = root / 'FlyingChairs' / 'data'
    for i in range(3):
        for number in (1, 2):
            write_frame(folder / f'{i:05d}_img{number}.ppm', 10 * i + number)
        write_flow(folder / f'{i:05d}_flow.flo', i)
    (folder.parent / 'FlyingChairs_train_val.txt').write_text('1\n2\n1\n')


def write_sintel_tree(root):
    """Two pairs of each of two scenes, in both passes and splits."""
    for scene in ('ambush_2', 'alley_1'):
        for i in range(3):
            for folder in ('training/clean', 'training/final', 'test/clean',
                           'test/final'):
                write_frame(
                    root / 'Sintel' / folder / scene / f'frame_{i:04d}.png', i)
        for i in range(2):
            write_flow(
                root / 'Sintel/training/flow' / scene / f'frame_{i:04d}.flo',
                i + 1)


def write_kitti_tree(root):
    """Two pairs of each split."""
    for i in range(2):
        for number in (10, 11):
            for split in ('training', 'testing'):
                write_frame(root / 'KittiFlow' / split / 'image_2' /
                            f'{i:06d}_{number}.png')
        write_flow(root / 'KittiFlow/training/flow_occ' / f'{i:06d}_10.png',
                   i + 2)


def write_things_tree(root):
    """Three frames of one scene, in both passes and directions."""
    things = root / 'FlyingThings3D'
    for i in range(3):
        for name in ('frames_cleanpass', 'frames_finalpass'):
            write_frame(things / name / f'TRAIN/A/0000/left/{i:04d}.png', i)
        for direction, sign in (('into_future', 1), ('into_past', -1)):
            write_flow(
                things / 'optical_flow/TRAIN/A/0000' / direction / 'left' /
                f'{i:04d}.pfm', sign * (i + 1))


def write_hd1k_tree(root):
    """Three frames of one sequence."""
    for i in range(3):
        name = f'000000_{i:04d}.png'
        write_frame(root / 'hd1k/hd1k_input/image_2' / name)
        write_flow(root / 'hd1k/hd1k_flow_gt/flow_occ' / name)


def flow_config(work_dir,
                method='mmhkt.Alone',
                parent=None,
                size=(40, 48),
                **options):
    """Two iterations of two rendered pairs; a random parent unless given."""
    cfg = load_config(CONFIGS / 'alone/raft-reduced-small_synthetic.py')
    cfg.method = dict(type=method) if isinstance(method, str) else method
    cfg.parent = parent or dict(
        config=str(CONFIGS / 'alone/raft-reduced-large_synthetic.py'),
        random_weights=True)
    cfg.merge_from_dict({
        'model.iters_train': 2,
        'model.iters_test': 2,
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'train_dataloader.batch_size': 2,
        'train_dataloader.dataset.length': 8,
        'train_dataloader.dataset.size': size,
        'val_dataloader.batch_size': 2,
        'val_dataloader.dataset.length': 3,
        'val_dataloader.dataset.size': size,
        'param_scheduler.total_steps': 2,
        'default_hooks.logger.interval': 1,
        'log_level': 'WARNING',
        'work_dir': str(work_dir),
        **options
    })
    cfg.test_dataloader = cfg.val_dataloader
    # mmengine's managers keep one state a name, also between runs.
    cfg.experiment_name = uuid.uuid4().hex
    return cfg
