# Copyright (c) mmhkt authors. All rights reserved.
"""From a volume of LiTS to its segmentation by a child with HKT."""
import re
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import CONFIGS, dump, run

from mmhkt.utils.config import load_config, set_dataloader_defaults

pytest.importorskip('nibabel', reason='nibabel is not installed')

CHILD = 'hkt/hkt_unet-s5-w64_unet-s4-w16_40k_lits.py'
PARENT = 'alone/unet-s5-w64_40k_lits.py'


def config(name, root, size, width, iterations, seed=0, **options):
    """A config's network, maybe narrower, to train and score on the one
    volume that there is."""
    cfg = load_config(CONFIGS / name)
    loading = cfg.train_pipeline[:2]
    cfg.merge_from_dict({
        'model.backbone.base_channels': width,
        'model.decode_head.in_channels': width,
        'model.decode_head.channels': width,
        'model.data_preprocessor.size': (size, size),
        'train_dataloader.dataset.empty_every': 1,
        'train_dataloader.batch_size': 4,
        'optim_wrapper.optimizer.lr': 0.1,
        'train_cfg.max_iters': iterations,
        'train_cfg.val_interval': iterations,
        'default_hooks.checkpoint.interval': iterations,
        'randomness.seed': seed,
        'log_level': 'WARNING',
        'work_dir': str(root / name.split('/')[0]),
        # mmengine's managers keep one state a name, also between runs.
        'experiment_name': uuid.uuid4().hex,
        **options
    })
    cfg.train_dataloader.dataset.pipeline = [
        *loading, dict(type='PackSegInputs')
    ]
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(root), split='train')
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        cfg.pop(key)
    warm = iterations // 10
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=warm),
        dict(type='PolyLR', by_epoch=False, begin=warm, end=iterations)
    ]
    set_dataloader_defaults(cfg, ('train_dataloader', 'val_dataloader'))
    return cfg


def overfit(root, size, widths, iterations, seed=0):
    """Train a parent on the volume, then a child that inherits from it.

    Returns:
        InheritanceRunner: That trained the child.
    """
    run(config(PARENT, root, size, widths[0], iterations[0], seed))
    inherited = {
        'parent.config': str(root / 'alone/child.py'),
        'parent.checkpoint': str(root / 'alone/child.pth'),
        # Hints of a parent of so few iterations would be worth little.
        'method.type': 'mmhkt.GatedHKT'
    }
    return run(
        config(CHILD, root, size, widths[1], iterations[1], seed, **inherited))


def predictions(runner):
    """Labels (slices, H, W) that the child predicts, by the slices' order."""
    runner.model.eval()
    with torch.no_grad():
        return np.stack([
            sample.pred_sem_seg.data[0].numpy()
            for batch in runner.val_dataloader
            for sample in runner.model.val_step(batch)
        ])


def dice(truth, predicted):
    """In %, of two masks."""
    return 200 * (truth & predicted).sum() / (truth.sum() + predicted.sum())


def check(runner, root, hu, labels):
    """Check what was loaded and what was scored against NumPy.

    Args:
        hu (ndarray): Of the slices as they are to be, (slices, H, W).
        labels (ndarray): The same.
    """
    grey = (hu.clip(-200, 250) + 200) * (255 / 450)
    for batch in runner.val_dataloader:
        sample = batch['data_samples'][0]
        z = int(sample.slice)
        assert (sample.volume, sample.slices) == ('117', len(hu))
        loaded = batch['inputs'][0]
        assert loaded.dtype == torch.uint8
        # As near as a whole number can be.
        assert np.abs(loaded[0].numpy() - grey[z]).max() < 0.501
        assert np.array_equal(sample.gt_sem_seg.data[0], labels[z])

    predicted = predictions(runner)
    scores = runner.message_hub.log_scalars
    for name, region in dict(liver=(1, 2), tumour=(2, )).items():
        truth, found = np.isin(labels, region), np.isin(predicted, region)
        assert scores[f'val/Dice.{name}'].current() == pytest.approx(
            dice(truth, found))
        assert scores[f'val/IoU.{name}'].current() == pytest.approx(
            100 * (truth & found).sum() / (truth | found).sum())
    return scores['val/Dice.liver'].current()


def in_slices(volume):
    """To the head, rows to the back, columns to the left."""
    return volume[::-1, ::-1].transpose(2, 1, 0)


@pytest.mark.slow
def test_child_overfits_the_liver(tmp_path, lits_crop):
    """LiTS' volume 117 at half its resolution."""
    from lits_helpers import convert, pair, read_crop
    hu, labels = read_crop(lits_crop)
    assert np.bincount(labels.ravel()).tolist() == [1481801, 485268, 130083]

    # Every other slice; within slices the converter halves.
    hu, labels = hu[..., ::2], labels[..., ::2]
    pair(
        tmp_path / 'in',
        117,
        hu,
        labels.astype(np.uint8),
        suffix='.nii',
        spacing=(1, 1, 2))
    root = tmp_path / 'out'
    entry = convert(tmp_path / 'in', root, '--spacing', '2')['volumes']['117']
    hu, labels = in_slices(hu), in_slices(labels)
    # The window comes first, then the mean of each four; of labels the last.
    hu = hu.clip(-200, 250).reshape(64, 64, 2, 64, 2).mean((2, 4))
    labels = labels[:, 1::2, 1::2]
    assert entry['size'] == [64, 64] and entry['spacing'] == [2., 2., 2.]
    assert [sum(counts) for counts in entry['labels']] == [(labels == 1).sum(),
                                                           (labels == 2).sum()]

    runner = overfit(root, size=64, widths=(16, 16), iterations=(120, 160))
    score = check(runner, root, hu, labels)
    assert score > 90


def spheres(folder):
    """HU and labels of a body, a liver in it and a tumour in that; and the
    folder that the converter makes of them."""
    from lits_helpers import convert, pair
    rng = np.random.default_rng(0)
    place = np.stack(np.mgrid[:32, :32, :16], 3)
    labels = np.zeros((32, 32, 16), np.uint8)
    labels[np.linalg.norm(place - (19, 15, 8), axis=3) < 8] = 1
    labels[np.linalg.norm(place - (21, 13, 8), axis=3) < 4] = 2
    hu = rng.normal(np.choose(labels, (-60, 110, 40)), 15)
    hu = hu.astype(np.float32)
    pair(folder / 'in', 117, hu, labels)
    convert(folder / 'in', folder / 'out')
    return hu, labels, folder / 'out'


def test_child_overfits_spheres(tmp_path):
    hu, labels, root = spheres(tmp_path)
    runner = overfit(root, size=32, widths=(8, 8), iterations=(30, 60))
    score = check(runner, root, in_slices(hu), in_slices(labels))
    assert score > 90


# ------------------------------------------------------------------- errors


def label_outside(cfg, mask):
    cv2.imwrite(mask, np.full((32, 32), 7, np.uint8))


def another_size(cfg, mask):
    cv2.imwrite(mask, np.zeros((32, 24), np.uint8))


def only_in_validation(mistake):

    def make(cfg, mask):
        mistake(cfg, mask)
        # Leaves the last slices out.
        cfg.train_dataloader.dataset.indices = 8

    return make


def no_image(cfg, mask):
    Path(mask.replace('masks', 'images')).unlink()


@pytest.mark.parametrize('mistake, words', [
    (label_outside, 'masks/117/0012.png has the label 7 (1024 pixels'),
    (another_size, 'masks/117/0012.png is 32x32 pixels, its mask 32x24'),
    (no_image, 'images/117/0012.png'),
    (only_in_validation(label_outside),
     'masks/117/0012.png has the label 7 (1024 pixels'),
    (only_in_validation(another_size),
     'masks/117/0012.png is 32x32 pixels, its mask 32x24'),
])
def test_bad_slices(tmp_path, mistake, words):
    """Where they are loaded or scored, by their files' names."""
    root = spheres(tmp_path)[2]
    cfg = config(PARENT, root, 32, 4, iterations=10)
    mistake(cfg, str(root / 'masks/117/0012.png'))
    with pytest.raises((ValueError, FileNotFoundError),
                       match=re.escape(words)):
        run(cfg)


def test_parent_of_another_class_count(tmp_path):
    root = spheres(tmp_path)[2]
    parent = config(PARENT, root, 32, 4, iterations=10)
    parent.model.decode_head.num_classes = 2
    path = dump(parent, tmp_path / 'parent.py')
    cfg = config(CHILD, root, 32, 4, iterations=10)
    cfg.parent = dict(config=str(path), random_weights=True)
    cfg.method = dict(type='mmhkt.GatedHKT')
    with pytest.raises(ValueError, match='parent has 2 classes, the child 3'):
        run(cfg)
