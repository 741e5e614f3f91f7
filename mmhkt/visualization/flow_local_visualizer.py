# Copyright (c) mmhkt authors. All rights reserved.
from typing import List, Optional, Tuple

import mmcv
import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.visualization import Visualizer
from torch import Tensor

from mmhkt.registry import VISUALIZERS
from mmhkt.structures import FlowDataSample
from .flow_colours import colour_error, colour_flow, largest_speed

Panel = Tuple[str, np.ndarray]
GAP = 4  # pixels between two panels


@VISUALIZERS.register_module()
class FlowLocalVisualizer(Visualizer):
    """Draws optical flow beside the frame that it is of.

    Flow is colour-coded: the hue is the direction, the saturation the speed;
    true and predicted flow of a sample on one scale, which is written above.
    Where the true flow is not known, it and the error are black.

    Args:
        name (str): Name of the instance. Defaults to ``'visualizer'``.
        image (np.ndarray, optional): RGB. Defaults to None.
        vis_backends (list, optional): Where pictures go. Defaults to None.
        save_dir (str, optional): Folder of the backends. Defaults to None.
        flow_scale (float, optional): The speed of full saturation, in
            pixels. Defaults to None: of each sample the largest true speed,
            or the largest predicted one where nothing is known.
        error_scale (float): The end-point error of the brightest colour, in
            pixels. Defaults to 5.
        **kwargs: Other arguments of
            :class:`mmengine.visualization.Visualizer`.

    Examples:
        >>> import numpy as np
        >>> import torch
        >>> from mmhkt.structures import FlowDataSample
        >>> from mmhkt.visualization import FlowLocalVisualizer
        >>> sample = FlowDataSample(
        ...     gt_flow=torch.zeros(2, 80, 120),
        ...     valid=torch.ones(80, 120, dtype=torch.bool),
        ...     pred_flow=torch.ones(2, 80, 120))
        >>> frame = np.zeros((80, 120, 3), np.uint8)
        >>> FlowLocalVisualizer().add_datasample(
        ...     'pair', frame, sample, out_file='pair.png')
    """

    def __init__(self,
                 name: str = 'visualizer',
                 image: Optional[np.ndarray] = None,
                 vis_backends: Optional[list] = None,
                 save_dir: Optional[str] = None,
                 flow_scale: Optional[float] = None,
                 error_scale: float = 5.0,
                 **kwargs):
        super().__init__(name, image, vis_backends, save_dir, **kwargs)
        self.flow_scale = flow_scale
        self.error_scale = error_scale

    def scale_of(self, sample: FlowDataSample) -> float:
        """The speed of full saturation for a sample, in pixels."""
        if self.flow_scale is not None:
            return self.flow_scale
        valid = sample.get('valid')
        if 'gt_flow' in sample and (valid is None or valid.any()):
            return largest_speed(sample.gt_flow, valid)
        return largest_speed(sample.pred_flow) if 'pred_flow' in sample else 0

    def draw_truth(self, sample: FlowDataSample) -> np.ndarray:
        """True flow as colours, RGB, uint8, (H, W, 3)."""
        return colour_flow(sample.gt_flow, self.scale_of(sample),
                           sample.get('valid'))

    def draw_prediction(self, sample: FlowDataSample) -> np.ndarray:
        """Predicted flow as colours, RGB, uint8, (H, W, 3)."""
        return colour_flow(sample.pred_flow, self.scale_of(sample))

    def draw_error(self, sample: FlowDataSample) -> np.ndarray:
        """The end-point error as colours, RGB, uint8, (H, W, 3)."""
        return colour_error(
            _errors(sample), self.error_scale, sample.get('valid'))

    @master_only
    def add_datasample(self,
                       name: str,
                       image: np.ndarray,
                       data_sample: Optional[FlowDataSample] = None,
                       draw_gt: bool = True,
                       draw_pred: bool = True,
                       show: bool = False,
                       wait_time: float = 0,
                       out_file: Optional[str] = None,
                       step: int = 0,
                       with_labels: bool = True) -> np.ndarray:
        """Draw first frame, true flow, predicted flow and error side by side.

        Args:
            name (str): Name of the picture.
            image (np.ndarray): The first frame, RGB, uint8, (H, W, 3).
            data_sample (FlowDataSample, optional): What of ``gt_flow`` (with
                ``valid``) and ``pred_flow`` it has is drawn, and the error
                if it has both. Defaults to None.
            draw_gt (bool): Draw what is true. Defaults to True.
            draw_pred (bool): Draw what is predicted. Defaults to True.
            show (bool): Show it in a window. Defaults to False.
            wait_time (float): Seconds that the window stays; 0 until it is
                closed. Defaults to 0.
            out_file (str, optional): File to write in place of the backends.
                Defaults to None.
            step (int): Step that backends file it under. Defaults to 0.
            with_labels (bool): Write above each panel what it shows.
                Defaults to True.

        Returns:
            np.ndarray: What was drawn, RGB, uint8.

        Raises:
            ValueError: If the frame is of another size than the flow.
        """
        sample = FlowDataSample() if data_sample is None else data_sample
        panels = [('frame', np.ascontiguousarray(image))]
        panels += self._panels(sample, draw_gt, draw_pred)
        for what, panel in panels:
            if panel.shape != image.shape:
                raise ValueError(
                    f'{name}: the frame is of shape {image.shape}, the '
                    f'{what.partition(",")[0]} of shape {panel.shape}.')
        drawn = self._side_by_side(panels, with_labels)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(mmcv.rgb2bgr(drawn), out_file)
        else:
            self.add_image(name, drawn, step)
        return drawn

    def _panels(self, sample: FlowDataSample, draw_gt: bool,
                draw_pred: bool) -> List[Panel]:
        to = f'to {self.scale_of(sample):.3g} px'
        panels = []
        if draw_gt and 'gt_flow' in sample:
            panels.append((f'true flow, {to}', self.draw_truth(sample)))
        if draw_pred and 'pred_flow' in sample:
            panels.append((f'predicted, {to}', self.draw_prediction(sample)))
        if draw_gt and draw_pred and {'gt_flow', 'pred_flow'} <= set(
                sample.keys()):
            error = end_point_error(sample)
            panels.append(
                (f'error to {self.error_scale:g} px, mean {error:.2f}',
                 self.draw_error(sample)))
        return panels

    def _side_by_side(self, panels: List[Panel], labels: bool) -> np.ndarray:
        height, width = panels[0][1].shape[:2]
        # A letter is about 0.6 of the font's size wide.
        longest = max(len(text) for text, _ in panels)
        size = min(13, max(6, width / (0.6 * longest)))
        top = round(1.8 * size) if labels else 0
        canvas = np.full((top + height, len(panels) * (width + GAP) - GAP, 3),
                         255, np.uint8)
        for number, (_, panel) in enumerate(panels):
            left = number * (width + GAP)
            canvas[top:, left:left + width] = panel
        if labels:
            self.set_image(canvas)
            lefts = np.arange(len(panels)) * (width + GAP)
            self.draw_texts(
                [text for text, _ in panels],
                np.stack([lefts + 1, 0 * lefts + top / 2], -1),
                # in points
                font_sizes=size * 72 / self.dpi,
                colors='black',
                vertical_alignments='center')
            # The text alone: matplotlib may change the panels' pixels.
            canvas[:top] = self.get_image()[:top]
        return canvas


def end_point_error(sample: FlowDataSample) -> float:
    """The mean end-point error of a sample where its true flow is known, in
    pixels; NaN where nothing is known."""
    errors = _errors(sample)
    valid = sample.get('valid')
    return float(errors.mean() if valid is None else errors[valid].mean())


def _errors(sample: FlowDataSample) -> Tensor:
    truth = sample.gt_flow
    return torch.linalg.vector_norm(
        sample.pred_flow.to(truth.device).float() - truth, dim=0)
