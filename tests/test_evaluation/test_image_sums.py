# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmpretrain.evaluation import Accuracy
from mmpretrain.structures import DataSample
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from mmhkt.evaluation import (EndPointError, ImageScores, ImageSums,
                              VolumeDice, image_scores)

IMAGES = 7


def classified(scored=True):
    torch.manual_seed(0)
    for _ in range(IMAGES):
        sample = DataSample().set_gt_label(torch.randint(6, (1, )))
        if scored:
            yield sample.set_pred_score(torch.rand(6).softmax(0))
        else:
            yield sample.set_pred_label(torch.randint(6, (1, )))


def segmented():
    torch.manual_seed(0)
    for i in range(IMAGES):
        # The third class is in no image, void in all.
        truth, predicted = torch.randint(0, 2, (2, 1, 5, 6))
        truth[..., 0] = 255
        sample = SegDataSample(
            gt_sem_seg=PixelData(data=truth),
            pred_sem_seg=PixelData(data=predicted))
        sample.set_metainfo(
            dict(volume=str(i // 2), slice=i % 2, slices=1 if i == 6 else 2))
        yield sample


def flowing():
    torch.manual_seed(0)
    for i in range(IMAGES):
        valid = torch.rand(4, 5) < i / 6  # of the first image nothing
        yield DataSample(
            gt_flow=20 * torch.randn(2, 4, 5),
            pred_flow=20 * torch.randn(2, 4, 5),
            valid=valid)


@pytest.mark.parametrize('metric, samples, names', [
    (Accuracy(topk=(1, 3)), classified, ['accuracy/top1', 'accuracy/top3']),
    (Accuracy(thrs=0.2), classified, ['accuracy/top1']),
    (Accuracy(), lambda: classified(False), ['accuracy/top1']),
    (IoUMetric(iou_metrics=['mIoU', 'mDice']), segmented,
     ['aAcc', 'mIoU', 'mAcc', 'mDice']),
    (EndPointError(), flowing, [
        'EPE', 'EPE-image', 'Fl', '1px', '3px', '5px', 's0-10', 's10-40',
        's40+'
    ]),
    (VolumeDice(regions=dict(a=(1, ), b=(0, 1))), segmented,
     ['mDice', 'Dice.a', 'Dice.b', 'mIoU', 'IoU.a', 'IoU.b']),
])
def test_scores_are_those_of_the_metric(metric, samples, names, tmp_path):
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=('a', 'b', 'c'))
    for sample in samples():
        evaluator.process([sample], None)
    kept = image_scores(evaluator.metrics, IMAGES, step=5)
    kept.save(tmp_path / 'images.npz')
    assert [p.name for p in tmp_path.iterdir()] == ['images.npz']
    kept = ImageScores.load(tmp_path / 'images.npz')
    assert kept.step == 5 and list(kept.sums) == names
    found = evaluator.evaluate(IMAGES)
    for name in names:
        # mmsegmentation rounds to two digits
        assert kept.sums[name].score() == pytest.approx(found[name], abs=.006)


def test_truth_tells_images_apart():

    def truth(labels, shift):
        metric = Accuracy()
        metric.results = [
            dict(
                pred_label=torch.tensor([label + shift]),
                gt_label=torch.tensor([label])) for label in labels
        ]
        return image_scores([metric], 3, 1).truth

    assert truth([0, 1, 2], 0) == truth([0, 1, 2], 1) != truth([0, 2, 1], 0)


def test_metric_that_is_not_known():
    assert image_scores([], 3, 1) is None
    nothing = IoUMetric(format_only=True, output_dir=None)
    nothing.results = [1]
    assert image_scores([nothing], 3, 1) is None


def test_pseudo_values_of_a_mean_are_the_images_own():
    right = np.array([[1], [0], [1], [1]], bool)
    sums = ImageSums(right, np.ones_like(right), 100.)
    assert sums.score() == 75
    assert sums.pseudo_values() == pytest.approx(100. * right[:, 0])


def test_pseudo_values_by_leaving_each_image_out():
    rng = np.random.default_rng(0)
    below = rng.integers(1, 9, (6, 3)).astype(np.uint8)
    below[:, 2] = [4, 0, 0, 0, 0, 0]  # a class of one image only
    above = (below * rng.random((6, 3))).astype(np.uint8)
    above[0, 2] = 1
    sums = ImageSums(above, below, 1.)
    for i, value in enumerate(sums.pseudo_values()):
        kept = np.arange(6) != i
        # Without that image there are two classes.
        ratios = [
            above[kept, k].sum(dtype=int) / below[kept, k].sum(dtype=int)
            for k in range(3 if i else 2)
        ]
        assert value == pytest.approx(6 * sums.score() - 5 * np.mean(ratios))
