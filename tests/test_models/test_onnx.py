# Copyright (c) mmhkt authors. All rights reserved.
"""ONNX files of the three tasks, compared on real samples by onnxruntime."""
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import CONFIGS

from mmhkt.cli import export as command
from mmhkt.models import build_network
from mmhkt.models.onnx import averages
from mmhkt.utils.config import load_config

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')


@pytest.mark.parametrize('before, after', [(7, 3), (6, 2), (3, 5), (8, 1)])
def test_averages_are_adaptive_pooling(before, after):
    x = torch.randn(1, 2, before, 1)
    torch.testing.assert_close(
        averages(before, after) @ x, F.adaptive_avg_pool2d(x, (after, 1)))


def checkpoint(tmp_path, config, **options):
    """What a run leaves, with weights and running statistics of no meaning
    but not those of the beginning, by which the images can be told apart."""
    cfg = load_config(CONFIGS / config, options)
    torch.manual_seed(0)
    network = build_network(cfg)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    path = tmp_path / 'epoch_1.pth'
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=['a', 'b']))
    torch.save(dict(state_dict=network.state_dict(), meta=meta), path)
    return path, cfg


def images_of_camvid(shared_data, folder):
    """Two test images of CamVid, and their masks."""
    import zipfile
    with zipfile.ZipFile(shared_data / 'camvid_240x180.zip') as archive:
        names = sorted(n for n in archive.namelist() if n.startswith('test'))
        images = [n for n in names if n.endswith('.jpg')][:2]
        stems = [n.rpartition('/')[2].rpartition('.')[0] for n in images]
        masks = [
            n for n in names if n.endswith('.png')
            and n.rpartition('/')[2].rpartition('.')[0] in stems
        ]
        archive.extractall(folder, images + masks)
    assert len(images) == len(masks) == 2


def exported(tmp_path, capsys, config, *flags, **options):
    path, cfg = checkpoint(tmp_path, config, **options)
    file = tmp_path / 'child.onnx'
    config = tmp_path / 'run.py'
    cfg.dump(str(config))
    command.main(
        [str(path),
         str(file), '--config',
         str(config), *map(str, flags)])
    text = ' '.join(capsys.readouterr().out.split())
    difference = float(text.rpartition(' ')[2])
    return file, text, difference


def test_classifier(tmp_path, capsys):
    file, text, difference = exported(
        tmp_path, capsys, 'hkt/hkt_resnet20_resnet8-narrow_digits.py')
    assert 'on real images, batches of 1 and 4' in text
    assert 0 < difference <= 1e-4  # 0 is what a constant has
    # Both networks' parameters, and the child's again by onnxruntime.
    assert text.count('5,006') == 2 and text.count('269,722') == 1
    model = onnx.load(str(file))
    noted = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert noted['classes'] == ['a', 'b'] and noted['mean'] == pytest.approx(
        [77.89] * 3)
    run = onnxruntime.InferenceSession(str(file))
    for size in (1, 7):
        images = np.zeros((size, 3, 8, 8), np.float32)
        assert run.run(None, {'images': images})[0].shape == (size, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    'network', ['pspnet-r18-w32-d8_2k_camvid', 'fcn-r18-w16-d16_2k_camvid'])
def test_segmentor(tmp_path, capsys, shared_data, network):
    images_of_camvid(shared_data, tmp_path / 'camvid')
    file, text, difference = exported(
        tmp_path, capsys, f'alone/{network}.py',
        **{'test_dataloader.dataset.data_root': str(tmp_path / 'camvid')})
    assert 'on real images, batches of 1 and 2' in text
    assert 0 < difference <= 1e-4
    run = onnxruntime.InferenceSession(str(file))
    image = np.zeros((3, 3, 180, 240), np.float32)
    assert run.run(None, {'images': image})[0].shape == (3, 11, 180, 240)


@pytest.mark.slow
def test_flow(tmp_path, capsys, shared_data):
    file, text, difference = exported(
        tmp_path, capsys, 'alone/raft-reduced-small_pairs.py',
        **{'test_dataloader.dataset.data_root': str(shared_data / 'flow')})
    # Frames of four sizes: one fits, and its mirror image.
    assert 'on real images, batches of 1 and 2' in text
    assert 0 < difference <= 1e-4


def test_random_images_are_called_so(tmp_path, capsys):
    _, text, difference = exported(tmp_path, capsys,
                                   'alone/resnet8-narrow_digits.py', '--shape',
                                   12, 8)
    assert 'on random images' in text and '12x8' in text
    assert difference <= 1e-4


def test_a_file_that_differs_is_not_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('mmhkt.models.onnx.largest_difference',
                        lambda *_: float('nan'))
    with pytest.raises(SystemExit, match='more than 1e-4'):
        exported(tmp_path, capsys, 'alone/resnet8-narrow_digits.py')
    assert not (tmp_path / 'child.onnx').exists()
