# Copyright (c) mmhkt authors. All rights reserved.
import cv2
import numpy as np
import pytest
import torch
from example_helpers import flow_sample
from mmengine.registry import VISUALIZERS

from mmhkt.visualization import FlowLocalVisualizer
from mmhkt.visualization.flow_local_visualizer import GAP, end_point_error


def columns(drawn, width, height):
    """The panels below the captions."""
    return [
        drawn[-height:, left:left + width]
        for left in range(0, drawn.shape[1], width + GAP)
    ]


def test_all_panels(tmp_path):
    visualizer = VISUALIZERS.build(
        dict(type='mmhkt.FlowLocalVisualizer', name='panels'))
    frame, sample = flow_sample()
    path = tmp_path / 'pair.png'
    drawn = visualizer.add_datasample('x', frame, sample, out_file=str(path))
    assert (cv2.imread(str(path))[..., ::-1] == drawn).all()
    assert drawn.shape[1] == 4 * 30 + 3 * GAP and drawn.shape[0] > 20
    image, truth, prediction, error = columns(drawn, 30, 20)
    assert (image == frame).all()
    assert (truth[:5] == 0).all() and (error[:5] == 0).all()
    assert (prediction[:5] > 0).any()
    # 9 px are shown as 8, the largest that is true.
    assert (prediction[5:] == truth[5:]).all()
    assert len(np.unique(error[5:].reshape(-1, 3), axis=0)) == 1
    assert end_point_error(sample) == pytest.approx(1)
    assert (drawn[:drawn.shape[0] - 20] < 128).any()  # the captions


def test_what_there_is():
    visualizer = FlowLocalVisualizer(flow_scale=16., error_scale=1.)
    frame, sample = flow_sample()

    def panels(**options):
        drawn = visualizer.add_datasample(
            'x', frame, sample, with_labels=False, **options)
        assert len(drawn) == 20
        return columns(drawn, 30, 20)

    assert len(panels()) == 4
    assert len(panels(draw_gt=False)) == len(panels(draw_pred=False)) == 2
    del sample.pred_flow
    assert len(panels()) == 2
    del sample.gt_flow
    assert len(panels()) == 1


def test_scale_is_the_predictions_where_nothing_is_known():
    _, sample = flow_sample()
    visualizer = FlowLocalVisualizer()
    assert visualizer.scale_of(sample) == pytest.approx(8)
    sample.valid = torch.zeros_like(sample.valid)
    assert visualizer.scale_of(sample) == pytest.approx(9)


def test_backends_get_it(tmp_path):
    visualizer = FlowLocalVisualizer(
        vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path))
    visualizer.add_datasample('pair', *flow_sample(), step=7)
    assert (tmp_path / 'vis_data/vis_image/pair_7.png').is_file()


def test_another_size():
    frame, sample = flow_sample()
    with pytest.raises(ValueError, match='frame is of shape .19, 30, 3.'):
        FlowLocalVisualizer().add_datasample('x', frame[1:], sample)
