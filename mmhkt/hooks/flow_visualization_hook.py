# Copyright (c) mmhkt authors. All rights reserved.
from pathlib import Path
from typing import Optional, Sequence

from mmengine.hooks import Hook
from mmengine.visualization import Visualizer

from mmhkt.registry import HOOKS
from mmhkt.structures import FlowDataSample
from mmhkt.utils.settings import Count, Name, NotNegative


@HOOKS.register_module()
class FlowVisualizationHook(Hook):
    """Draws flow while validating and testing, by the config's visualiser,
    :class:`mmhkt.visualization.FlowLocalVisualizer`.

    Args:
        enable (bool): Whether to draw. Defaults to False.
        interval (int): Of so many samples one is drawn, the first one of a
            validation or test among them. Defaults to 50.
        show (bool): Show each in a window. Defaults to False.
        wait_time (float): Seconds that a window stays; 0 until it is closed.
            Defaults to 0.
        out_dir (str, optional): Folder for the pictures in place of the
            visualiser's backends. Defaults to None.

    Raises:
        ValueError: If the interval is below 1.
    """

    def __init__(self,
                 enable: bool = False,
                 interval: Count = 50,
                 show: bool = False,
                 wait_time: NotNegative = 0,
                 out_dir: Optional[Name] = None):
        self.enable = enable
        self.interval = interval
        self.show = show
        self.wait_time = wait_time
        self.out_dir = out_dir
        self._visualizer: Visualizer = Visualizer.get_current_instance()
        self._seen = 0

    def before_val_epoch(self, runner) -> None:
        """Count from 0 again."""
        self._seen = 0

    def before_test_epoch(self, runner) -> None:
        """Count from 0 again."""
        self._seen = 0

    def after_val_iter(self, runner, batch_idx: int, data_batch: dict,
                       outputs: Sequence[FlowDataSample]) -> None:
        """Draw, under the iteration of the training."""
        self._draw('val', data_batch, outputs, runner.iter)

    def after_test_iter(self, runner, batch_idx: int, data_batch: dict,
                        outputs: Sequence[FlowDataSample]) -> None:
        """Draw, under the number of the sample."""
        self._draw('test', data_batch, outputs)

    def _draw(self,
              phase: str,
              batch: dict,
              samples: Sequence[FlowDataSample],
              step: Optional[int] = None) -> None:
        if not self.enable:
            return
        for pair, sample in zip(batch['inputs'], samples):
            number, self._seen = self._seen, self._seen + 1
            if number % self.interval:
                continue
            # Of Sintel and the like all files of a name are in folders of
            # scenes: the number tells them apart.
            stem = Path(str(sample.get('img_path', 'pair'))).stem
            name = f'{phase}_{number:05d}_{stem.replace(" ", "-")}'
            self._visualizer.add_datasample(
                name,
                pair[:3].permute(1, 2, 0).cpu().numpy(),
                sample,
                show=self.show,
                wait_time=self.wait_time,
                out_file=self.out_dir
                and str(Path(self.out_dir, f'{name}.png')),
                step=number if step is None else step)
