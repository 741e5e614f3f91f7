# Copyright (c) mmhkt authors. All rights reserved.
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS

REGIONS = dict(liver=(1, 2), tumour=(2, ))
META = dict(classes=('background', 'liver', 'tumour'))


def samples(truth, predicted, volume='1'):
    """Volumes (slices, H, W) as what a model returns of each slice."""
    return [
        dict(
            gt_sem_seg=dict(data=torch.tensor(t)[None]),
            pred_sem_seg=dict(data=torch.tensor(p)[None]),
            volume=volume,
            slice=z,
            slices=len(truth),
            seg_map_path=f'masks/{volume}/{z}.png')
        for z, (t, p) in enumerate(zip(truth, predicted))
    ]


def scored(*volumes, regions=REGIONS, **settings):
    metric = METRICS.build(
        dict(type='mmhkt.VolumeDice', regions=regions, **settings))
    metric.dataset_meta = META
    for sample in sum(volumes, []):
        metric.process({}, [sample])
    return metric.evaluate(len(metric.results))


def noise(seed, shape=(4, 6, 5), labels=3):
    return np.random.default_rng(seed).integers(0, labels, shape)


def test_against_numpy():
    """Two volumes of different size, by the definitions."""
    pairs = [(noise(0), noise(1)),
             (noise(2, (3, 6, 5)), noise(3, (3, 6, 5), labels=2))]
    metrics = scored(
        *[samples(*pair, volume=str(i)) for i, pair in enumerate(pairs)])
    assert list(metrics)[0] == 'mDice'
    for region, labels in REGIONS.items():
        dice, iou, counts = [], [], np.zeros(3)
        for truth, predicted in pairs:
            a, b = np.isin(truth, labels), np.isin(predicted, labels)
            both = (a & b).sum()
            dice.append(2 * both / (a.sum() + b.sum()))
            iou.append(both / (a | b).sum())
            counts += both, a.sum() + b.sum(), (a | b).sum()
        expected = {
            f'Dice.{region}': np.mean(dice),
            f'IoU.{region}': np.mean(iou),
            f'Dice_global.{region}': 2 * counts[0] / counts[1],
            f'IoU_global.{region}': counts[0] / counts[2],
        }
        for name, value in expected.items():
            assert metrics[name] == pytest.approx(100 * value)
    for name in ('Dice', 'IoU', 'Dice_global', 'IoU_global'):
        assert metrics[f'm{name}'] == pytest.approx(
            (metrics[f'{name}.liver'] + metrics[f'{name}.tumour']) / 2)


def test_classes_on_their_own_are_the_default():
    truth, predicted = noise(0), noise(1)
    metrics = scored(samples(truth, predicted), regions=None)
    a, b = truth == 1, predicted == 1
    assert metrics['Dice.liver'] == pytest.approx(200 * (a & b).sum() /
                                                  (a.sum() + b.sum()))
    assert 'Dice.background' not in metrics


def test_empty_regions_by_the_challenges_rule():
    liver = np.ones((2, 4, 4), int)
    spotted = liver.copy()
    spotted[0, 0, 0] = 2
    neither = scored(samples(liver, liver))
    assert neither['Dice.tumour'] == neither['IoU.tumour'] == 100
    assert neither['Dice_global.tumour'] == 100
    for pair in ((spotted, liver), (liver, spotted)):
        only_one = scored(samples(*pair))
        assert only_one['Dice.tumour'] == only_one['IoU.tumour'] == 0
        assert only_one['Dice.liver'] == 100
    mean = scored(samples(liver, liver), samples(liver, spotted, volume='2'))
    assert mean['Dice.tumour'] == 50


def test_ignored_pixels_do_not_count():
    truth, predicted = noise(0), noise(1)
    truth[:, :3] = 255
    assert scored(samples(truth, predicted)) == scored(
        samples(truth[:, 3:], predicted[:, 3:]))


def test_order_and_repeated_slices_do_not_matter():
    pair = noise(0), noise(1)
    ours = samples(*pair)
    assert scored(ours[::-1] + ours[:2]) == scored(samples(*pair))


def test_whole_volumes_are_needed():
    with pytest.raises(ValueError, match='Volume 1 has 4 slices, but only 3'):
        scored(samples(noise(0), noise(1))[1:])


def test_what_is_wrong_is_named():
    bad = noise(0)
    bad[2, 1, 1] = 7
    with pytest.raises(ValueError, match='masks/1/2.png: the mask has the la'):
        scored(samples(bad, noise(1)))
    with pytest.raises(ValueError, match='masks/1/0.png: .*4, 5.*6, 5'):
        scored(samples(noise(0, (4, 4, 5)), noise(1)))
    missing = samples(noise(0), noise(1))
    missing[0].pop('slices')
    with pytest.raises(ValueError, match='no "slices" in a sample'):
        scored(missing)


RANK = """
import sys
import json
import torch.distributed as dist
sys.path[:0] = sys.argv[4:]
from test_volume_dice import META, REGIONS, noise, samples, METRICS
rank, where, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group('gloo', f'file://{where}', rank=rank, world_size=2)
metric = METRICS.build(dict(type='mmhkt.VolumeDice', regions=REGIONS))
metric.dataset_meta = META
# 7 slices, divided as DefaultSampler does: the first is repeated.
slices = samples(noise(0), noise(1)) + samples(
    noise(2, (3, 6, 5)), noise(3, (3, 6, 5)), volume='2')
for i in (range(0, 8, 2), range(1, 8, 2))[rank]:
    metric.process({}, [slices[i % 7]])
metrics = metric.evaluate(7)
json.dump(metrics, open(f'{out}{rank}', 'w'))
# Else gloo's threads may end the process with an error.
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_score_as_one(tmp_path):
    ranks = [
        subprocess.Popen([
            sys.executable, '-c', RANK,
            str(rank),
            str(tmp_path / 'store'),
            str(tmp_path / 'metrics'),
            str(Path(__file__).parent)
        ]) for rank in (0, 1)
    ]
    assert [process.wait(timeout=300) for process in ranks] == [0, 0]
    alone = scored(
        samples(noise(0), noise(1)),
        samples(noise(2, (3, 6, 5)), noise(3, (3, 6, 5)), volume='2'))
    for rank in (0, 1):
        assert json.loads((tmp_path / f'metrics{rank}').read_text()) == alone


@pytest.mark.parametrize('labels', [(-1, ), (1, 1), (3, )])
def test_regions_of_what_is_no_class_are_refused(labels):
    metric = METRICS.build(
        dict(type='mmhkt.VolumeDice', regions=dict(all=(1, 2), odd=labels)))
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    with pytest.raises(ValueError, match='region "odd" is .* 0 to 2'):
        metric.score_regions()
