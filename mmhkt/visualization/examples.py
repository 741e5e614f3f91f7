# Copyright (c) mmhkt authors. All rights reserved.
"""How a sample of each task becomes a few pictures."""
from abc import ABCMeta, abstractmethod
from pathlib import Path
from typing import Any, Dict, Optional

import mmcv
import numpy as np

from .flow_local_visualizer import FlowLocalVisualizer, end_point_error

# How much of an overlay is colour.
ALPHA = 0.6


class Painter(metaclass=ABCMeta):
    """Draws one sample after another.

    What it returns of each drawing is a dict of ``files``, the names of the
    files written, and a ``caption``.

    Args:
        metainfo (dict): Of the data set.
    """

    kinds: Dict[str, type] = {}  # by the name of the task

    def __init_subclass__(cls, task: str, **kwargs):
        super().__init_subclass__(**kwargs)
        Painter.kinds[task] = cls

    @staticmethod
    def draws(task: str) -> bool:
        """Whether samples of a task are drawn."""
        return task in Painter.kinds

    def __init__(self, metainfo: dict):
        self.metainfo = metainfo

    def begin(self, packed: dict) -> None:
        """Turn to a sample.

        Args:
            packed (dict): ``inputs`` and ``data_samples`` of one sample, as
                its pipeline has packed them; they are not changed.
        """
        self.inputs = packed['inputs']
        self.sample = packed['data_samples']
        path = str(self.sample.get('img_path') or '')
        self.name = Path(path).name
        self.frame = self._frame(path)

    @abstractmethod
    def _frame(self, path: str) -> np.ndarray:
        """The image, RGB, uint8, (H, W, 3)."""

    def image(self, stem: Path) -> dict:
        """Write the image.

        Args:
            stem (Path): What the names of the sample's files begin with.
        """
        return _written(stem, 'image', '', {'': self.frame})

    @abstractmethod
    def truth(self, stem: Path) -> Optional[dict]:
        """Draw what is true, None where that is not known."""

    @abstractmethod
    def prediction(self, sample: Any, stem: Path, who: str) -> dict:
        """Draw what was predicted.

        Args:
            sample: The data sample that a network returned.
            stem (Path): What the names of the sample's files begin with.
            who (str): What they go on with.
        """

    @abstractmethod
    def legend(self) -> dict:
        """How all that was drawn is to be read: ``note`` and ``classes``, a
        list of names and RGB colours."""


def painter_of(task: str, metainfo: dict) -> Painter:
    """The painter of a task.

    Args:
        task (str): The name of one that is drawn, see :meth:`Painter.draws`.
        metainfo (dict): Of the data set.
    """
    return Painter.kinds[task](metainfo)


class SegmentationPainter(Painter, task='segmentation'):
    """Overlays by mmsegmentation's visualiser."""

    def __init__(self, metainfo: dict):
        # Here, since it takes seconds and only segmentation has it anyway.
        from mmseg.visualization import SegLocalVisualizer

        super().__init__(metainfo)
        self.visualizer = SegLocalVisualizer(alpha=ALPHA)
        self.visualizer.dataset_meta = {
            key: metainfo[key]
            for key in ('classes', 'palette')
        }
        self.seen = set()

    def _frame(self, path: str) -> np.ndarray:
        if Path(path).is_file():
            image = mmcv.imread(path, channel_order='rgb')
        else:
            image = self.inputs.permute(1, 2, 0).cpu().numpy()
            if image.shape[2] != 3:
                # Neighbours of a slice, which is in the middle.
                image = image[..., [image.shape[2] // 2] * 3]
            image = np.ascontiguousarray(image.astype(np.uint8))
        size = tuple(self.sample.get('ori_shape', image.shape))[:2]
        if image.shape[:2] != size:
            image = mmcv.imresize(image, size[::-1])
        return image

    def truth(self, stem: Path) -> Optional[dict]:
        """See above."""
        if 'gt_sem_seg' not in self.sample:
            return None
        return self._overlay(stem, 'truth', self.sample, '')

    def prediction(self, sample: Any, stem: Path, who: str) -> dict:
        """See above."""
        caption = ''
        if 'gt_sem_seg' in self.sample:
            truth = _labels(self.sample.gt_sem_seg)
            counts = truth < len(self.metainfo['classes'])
            right = (_labels(sample.pred_sem_seg) == truth)[counts]
            if right.size:
                caption = f'{100 * right.mean():.1f} % of pixels right'
        return self._overlay(stem, who, sample, caption)

    def _overlay(self, stem: Path, who: str, sample: Any,
                 caption: str) -> dict:
        name = f'{stem.name}_{who}.png'
        self.visualizer.add_datasample(
            who,
            self.frame,
            sample,
            draw_gt=who == 'truth',
            draw_pred=who != 'truth',
            out_file=str(stem.with_name(name)),
            # Small images would be all labels; there is a legend.
            with_labels=False)
        shown = sample.gt_sem_seg if who == 'truth' else sample.pred_sem_seg
        self.seen |= set(np.unique(_labels(shown)).tolist())
        return dict(files=[name], caption=caption)

    def legend(self) -> dict:
        """See above; of the classes those that were drawn."""
        pairs = zip(self.metainfo['classes'], self.metainfo['palette'])
        return dict(
            note='Dark in the ground truth: pixels that do not count.' if any(
                label >= len(self.metainfo['classes'])
                for label in self.seen) else '',
            classes=[[name, list(map(int, colour))]
                     for label, (name, colour) in enumerate(pairs)
                     if label in self.seen])


class FlowPainter(Painter, task='optical flow'):
    """Colour-coded flow and error maps."""

    def __init__(self, metainfo: dict):
        super().__init__(metainfo)
        self.visualizer = FlowLocalVisualizer()

    def _frame(self, path: str) -> np.ndarray:
        return self.inputs[:3].permute(1, 2, 0).cpu().numpy()

    def truth(self, stem: Path) -> Optional[dict]:
        """See above."""
        if 'gt_flow' not in self.sample:
            return None
        return _written(
            stem, 'truth',
            f'up to {self.visualizer.scale_of(self.sample):.1f} px',
            {'': self.visualizer.draw_truth(self.sample)})

    def prediction(self, sample: Any, stem: Path, who: str) -> dict:
        """See above."""
        sample = sample.cpu()
        images, caption = {'': self.visualizer.draw_prediction(sample)}, ''
        if 'gt_flow' in sample:
            images['_error'] = self.visualizer.draw_error(sample)
            caption = f'EPE {end_point_error(sample):.2f} px'
        return _written(stem, who, caption, images)

    def legend(self) -> dict:
        """See above."""
        return dict(
            note='Hue: direction of the flow. Saturation: its speed, on one '
            'scale for all pictures of a pair. Below each prediction its '
            'end-point error, from dark blue, 0 px, to yellow, '
            f'{self.visualizer.error_scale:g} px and more. Black: not known.',
            classes=[])


def _labels(sem_seg) -> np.ndarray:
    data = sem_seg.data
    return (data.cpu().numpy() if hasattr(data, 'cpu') else data)[0]


def _written(stem: Path, who: str, caption: str,
             images: Dict[str, np.ndarray]) -> dict:
    files = []
    for suffix, image in images.items():
        files.append(f'{stem.name}_{who}{suffix}.png')
        mmcv.imwrite(
            np.ascontiguousarray(image[..., ::-1]),
            str(stem.with_name(files[-1])))
    return dict(files=files, caption=caption)
