# Copyright (c) mmhkt authors. All rights reserved.
"""Pairs of the zoo that nobody tuned, from five lines."""
import copy
import subprocess
import sys

import pytest
import torch
from helpers import arrays, read, tool

from mmhkt.utils.config import load_config

PAIRS = {
    'resnet50-resnet18':
    ('resnet/resnet50_8xb16_cifar10', 'resnet/resnet18_8xb16_cifar10', 32),
    'swin-tiny-resnet18': ('swin_transformer/swin-tiny_16xb64_in1k',
                           'resnet/resnet18_8xb32_in1k', 64),
    'deit-small-mobilenet-v3-small':
    ('deit/deit-small_4xb256_in1k',
     'mobilenet_v3/mobilenet-v3-small_8xb128_in1k', 224),
    'convnext-tiny-efficientnet-b0':
    ('convnext/convnext-tiny_32xb128_in1k',
     'efficientnet/efficientnet-b0_8xb32_in1k', 64),
}

FIVE_LINES = """_base_ = 'mmpretrain::{child}.py'
runner_type = 'mmhkt.InheritanceRunner'
parent = dict(config='mmpretrain::{parent}.py', random_weights=True)
method = dict(type='mmhkt.{method}')
"""


def write(folder, pair, method='HKT'):
    """The five lines, and noise in the place of the zoo's data."""
    parent, child, size = PAIRS[pair]
    path = folder / f'{pair}.py'
    text = FIVE_LINES.format(child=child, parent=parent, method=method)
    path.write_text(text)
    cfg = load_config(path)
    data = arrays(folder / 'noise.npz', images=8, size=size)
    for name in ('train', 'val', 'test'):
        # These images come from no file.
        steps = [{
            k: v
            for k, v in step.items() if k != '_scope_'
        } for step in cfg[f'{name}_dataloader'].dataset.pipeline
                 if step['type'] != 'LoadImageFromFile']
        loader = dict(
            batch_size=4,
            num_workers=0,
            persistent_workers=False,
            sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
            dataset=dict(
                _delete_=True,
                type='mmhkt.ArrayDataset',
                data_file=str(data),
                split='train' if name == 'train' else 'test',
                pipeline=steps))
        text += f'{name}_dataloader = {loader!r}\n'
    path.write_text(text + 'train_cfg = dict(max_epochs=1)\n')
    return path


def train(folder, pair, method='HKT'):
    """The checkpoint of an epoch of two iterations."""
    path = write(folder, pair, method)
    done = tool('train.py', path, '--work-dir', folder, '--no-validate')
    assert ('Pairing' in done.stdout) == (method != 'Alone')
    assert 'Epoch(train) [1][2/2]' in done.stdout
    return folder / 'epoch_1.pth'


@pytest.fixture(scope='module')
def resnets(tmp_path_factory):
    return train(tmp_path_factory.mktemp('resnets'), 'resnet50-resnet18')


@pytest.mark.slow
@pytest.mark.parametrize('pair', PAIRS)
def test_pair(tmp_path, request, pair):
    if pair == 'resnet50-resnet18':
        path = request.getfixturevalue('resnets')
    else:
        path = train(tmp_path, pair)
    file = read(path)
    assert all(torch.isfinite(v).all() for v in file['state_dict'].values())


PLAIN = """
import sys
import torch
from mmengine.config import Config
from mmpretrain.models import build_classifier
from mmpretrain.utils import register_all_modules
register_all_modules()
config, checkpoint, out = sys.argv[1:]
model = build_classifier(Config.fromfile(config).model).eval()
file = torch.load(checkpoint, weights_only=False)
print(model.load_state_dict(file['state_dict'], strict=True))
assert not any(name.split('.')[0] == 'mmhkt' for name in sys.modules)
torch.manual_seed(0)
with torch.no_grad():
    torch.save(model(torch.rand(4, 3, 32, 32)), out)
"""


@pytest.mark.slow
def test_zoo_childs_file_needs_no_mmhkt(tmp_path, resnets):
    """The untouched checkpoint of ResNet-50 -> ResNet-18 in mmpretrain."""
    from mmpretrain.models import build_classifier
    files = dict(
        HKT=resnets, Alone=train(tmp_path, 'resnet50-resnet18', 'Alone'))

    config = tmp_path / 'plain.py'
    config.write_text("_base_ = 'mmpretrain::"
                      "resnet/resnet18_8xb16_cifar10.py'\n")
    done = subprocess.run([
        sys.executable, '-c', PLAIN,
        str(config),
        str(files['HKT']),
        str(tmp_path / 'logits.pth')
    ],
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'All keys matched' in done.stdout

    hkt, alone = read(files['HKT']), read(files['Alone'])
    ours = build_classifier(
        load_config(resnets.with_name('resnet50-resnet18.py')).model).eval()
    ours.load_state_dict(hkt['state_dict'])
    torch.manual_seed(0)
    with torch.no_grad():
        logits = ours(torch.rand(4, 3, 32, 32))
    assert torch.equal(logits, read(tmp_path / 'logits.pth'))

    assert list(hkt['state_dict']) == list(alone['state_dict'])
    sizes = []
    for name, file in (('hkt', hkt), ('alone', alone)):
        file = copy.copy(file)
        transfer = file.pop('transfer')
        assert bool(transfer['state_dict']) == (name == 'hkt')
        torch.save(file, tmp_path / name)
        sizes.append((tmp_path / name).stat().st_size)
    assert abs(sizes[0] / sizes[1] - 1) < 0.01
