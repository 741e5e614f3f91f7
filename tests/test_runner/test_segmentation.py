# Copyright (c) mmhkt authors. All rights reserved.
"""Segmentation: small runs, and pairs of the zoo that nobody tuned."""
import copy
import re
import subprocess
import sys
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import REPO, cut_off, dump, read, run, same
from mmengine.config import Config
from seg_helpers import tiny_config, tiny_model, zoo_config

from mmhkt.models import Inheritance, build_network
from mmhkt.registry import RUNNERS
from mmhkt.utils.config import load_config

ALL = [
    dict(type=f'mmhkt.{name}')
    for name in ('GatedHKT', 'HKT', 'LePoKet', 'KD', 'CWD', 'AT', 'SP',
                 'FitNet', 'MGD', 'DIST')
] + [dict(type='mmhkt.GatedHKT', sites='all')]


def step_of(cfg):
    """What a config trains, and a batch to train it with."""
    runner = RUNNERS.build(cfg)
    runner.connect()
    model = runner.inheritance.train()
    batch = next(iter(runner.train_dataloader))
    return model, model.data_preprocessor(batch, True)


def losses_of(model, data):
    with model.tapped():
        return model(**data, mode='loss')


@pytest.mark.parametrize('child, parent', [(16, 8), (8, 16), (8, 32)])
def test_different_output_strides(tmp_path, child, parent):
    model, data = step_of(
        tiny_config(
            tmp_path,
            ALL,
            child=tiny_model(stride=child),
            parent=tiny_model(stride=parent, width=8)))
    total, _ = model.parse_losses(losses_of(model, data))
    total.backward()
    assert torch.isfinite(total)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    layout = model.parent.extraction.dissection.layout('decode_head.conv_seg')
    assert layout.grid == (64 // parent, 64 // parent)


def test_parents_head_is_judged_by_the_childs_criterion(tmp_path):
    """With nothing of the child mixed in these are the parent's own logits,
    resized to the labels."""
    model, data = step_of(
        tiny_config(
            tmp_path,
            dict(
                type='mmhkt.GatedHKT',
                attention=dict(mode='static', intensity=1.),
                weights=dict(parent_head=1)),
            child=tiny_model(stride=8),
            parent=tiny_model(stride=8)))
    losses = losses_of(model, data)
    with torch.no_grad():
        logits = model.parent.network(model.parent.images(data['inputs']))
    labels = torch.stack([s.gt_sem_seg.data[0] for s in data['data_samples']])
    logits = F.interpolate(logits, size=(64, 64), mode='bilinear')
    # mmsegmentation's mean is over all pixels, the ignored ones too.
    expected = F.cross_entropy(
        logits, labels, ignore_index=255, reduction='none').mean()
    torch.testing.assert_close(losses['gatedhkt.parent_head.decode.loss_ce'],
                               expected)


@pytest.mark.parametrize('inherit', [False, True])
def test_auxiliary_heads_judge_the_childs_own_features(tmp_path, inherit):
    model, data = step_of(
        tiny_config(tmp_path, task=dict(inherit_auxiliary=inherit)))
    calls = Counter()
    for name, module in dict(
            child=model.child.backbone.conv1,
            parent=model.parent.network.backbone.conv1,
            auxiliary=model.child.auxiliary_head.convs).items():
        module.register_forward_hook(
            lambda *_, name=name: calls.update([name]))
    names = list(losses_of(model, data))
    assert 'native.aux.loss_ce' in names
    assert ('gatedhkt.inherited.aux.loss_ce' in names) == inherit
    assert ('gatedhkt.parent_head.aux.loss_ce' in names) == inherit
    assert calls == dict(child=1, parent=1, auxiliary=3 if inherit else 1)
    assert model.child.with_auxiliary_head


def test_dry_run_is_of_the_size_that_training_pads_to(tmp_path):
    model, data = step_of(
        tiny_config(tmp_path, **{'model.data_preprocessor.size': (96, 64)}))
    assert model._extraction.dissection.image_size == (96, 64)
    assert data['inputs'].shape[2:] == (96, 64)


def test_child_sees_the_same_whatever_the_method(tmp_path):
    losses = []
    for name in ('mmhkt.Alone', 'mmhkt.LePoKet'):
        method = dict(type=name, weights=dict(native=1))
        runner = run(tiny_config(tmp_path / name, method))
        logged = runner.message_hub.log_scalars
        losses.append(logged['train/native.decode.loss_ce'].data[0][0])
    assert losses[0] == losses[1]


def test_resumed_run_ends_the_same(tmp_path):

    def go(name, **options):
        run(
            tiny_config(tmp_path / name, 'mmhkt.LePoKet', **{
                'train_cfg.max_iters': 4,
                **options
            }))
        return tmp_path / name / 'run'

    whole, cut = go('whole'), tmp_path / 'cut' / 'run'
    cut_off(whole, cut, 'iter_4.pth')
    go('cut', resume=True)
    one, other = (read(folder / 'iter_4.pth') for folder in (whole, cut))
    assert same(one['state_dict'], other['state_dict'])
    assert same(one['transfer']['state_dict'], other['transfer']['state_dict'])


PLAIN = """
import sys
import torch
from mmengine.config import Config
from mmseg.apis import init_model
from mmseg.utils import register_all_modules
register_all_modules()
config, checkpoint, out = sys.argv[1:]
model = init_model(Config.fromfile(config), device='cpu')
file = torch.load(checkpoint, weights_only=False)
print(model.load_state_dict(file['state_dict'], strict=True))
torch.manual_seed(0)
images = torch.rand(1, 3, 80, 96)
with torch.no_grad():
    torch.save(
        [model(images), model.predict(images)[0].seg_logits.data], out)
assert not {'mmhkt', 'mmcv.ops', 'mmcv._ext'} & set(sys.modules)
"""


@pytest.mark.parametrize('mode', [
    dict(mode='whole'),
    pytest.param(
        dict(mode='slide', crop_size=(64, 64), stride=(24, 40)),
        marks=pytest.mark.slow)
])
def test_file_needs_no_mmhkt(tmp_path, mode):
    """It loads as it is into the plain model, with bit-equal logits."""
    child = tiny_model(stride=16, test_cfg=mode)
    runner = run(tiny_config(tmp_path, child=child))
    model = runner.model.eval()
    torch.manual_seed(0)
    images = torch.rand(1, 3, 80, 96)
    with torch.no_grad():
        ours = [model(images), model.predict(images)[0].seg_logits.data]

    config = dump(
        Config(
            dict(
                default_scope='mmseg',
                model=child,
                test_dataloader=dict(dataset=dict()))), tmp_path / 'plain.py')
    done = subprocess.run([
        sys.executable, '-c', PLAIN,
        str(config),
        str(tmp_path / 'run' / 'iter_2.pth'),
        str(tmp_path / 'logits.pth')
    ],
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'All keys matched' in done.stdout
    for one, other in zip(ours, read(tmp_path / 'logits.pth')):
        assert torch.equal(one, other)


def test_exported_child_is_the_plain_one(tmp_path):
    runner = run(tiny_config(tmp_path))
    plain = build_network(Config.fromfile(tmp_path / 'run' / 'child.py'))
    exported = read(tmp_path / 'run' / 'child.pth')
    plain.load_state_dict(exported['state_dict'], strict=True)
    assert same(exported['state_dict'], runner.model.state_dict())
    assert exported['meta']['dataset_meta']['classes'] == list('0123')
    batch = next(iter(runner.val_dataloader))
    plain.eval()
    runner.model.eval()
    ours, theirs = (
        model.val_step(copy.deepcopy(batch))[0].seg_logits.data
        for model in (runner.model, plain))
    assert torch.equal(ours, theirs)


def test_config_of_the_docs(tmp_path):
    text = (REPO / 'docs/segmentation.md').read_text(encoding='utf-8')
    path = tmp_path / 'child.py'
    path.write_text(re.search(r'```python\n(.*?)```', text, re.DOTALL)[1])
    assert load_config(path).model.backbone.depth == 18


# ------------------------------------------------------------------- errors


def another_class_count(cfg):
    cfg.parent.config.model = tiny_model(classes=7)


def label_out_of_range(cfg):
    folder = cfg.train_dataloader.dataset.data_root
    cv2.imwrite(f'{folder}/ann/2.png', np.full((64, 64), 9, np.uint8))


def mask_of_another_size(cfg):
    folder = cfg.train_dataloader.dataset.data_root
    cv2.imwrite(f'{folder}/ann/2.png', np.zeros((48, 64), np.uint8))


def masks_not_loaded(cfg):
    del cfg.train_dataloader.dataset.pipeline[1]


@pytest.mark.parametrize('mistake, method, words', [
    (another_class_count, 'mmhkt.GatedHKT',
     'parent has 7 classes, the child 4'),
    (another_class_count, 'mmhkt.KD', 'parent has 7 classes, the child 4'),
    (label_out_of_range, 'mmhkt.Alone', 'ann/2.png has the label 9 (4096'),
    (mask_of_another_size, 'mmhkt.HKT',
     'ann/2.png is 64x64 pixels, its mask 48x64'),
    (masks_not_loaded, 'mmhkt.HKT', 'img/0.png has no mask'),
])
def test_bad_input(tmp_path, monkeypatch, mistake, method, words):
    cfg = tiny_config(tmp_path, method)
    mistake(cfg)
    if mistake is another_class_count:
        monkeypatch.setattr(Inheritance, 'train_step',
                            lambda *_: pytest.fail('an iteration was run'))
    with pytest.raises(ValueError, match=re.escape(words)):
        run(cfg)


@pytest.mark.parametrize('mask, words', [
    (np.full((64, 64), 9, np.uint8), 'ann/2.png has the label 9 (4096'),
    (np.zeros(
        (48, 64), np.uint8), 'ann/2.png is 64x64 pixels, its mask 48x64'),
])
@pytest.mark.parametrize('loop', ['val', 'test'])
def test_bad_masks_to_score_with(tmp_path, loop, mask, words):
    """IoUMetric would leave them out, or fail without a word of the file."""
    cfg = tiny_config(tmp_path, 'mmhkt.Alone')
    runner = RUNNERS.build(cfg)
    folder = cfg.train_dataloader.dataset.data_root
    cv2.imwrite(f'{folder}/ann/2.png', mask)
    with pytest.raises(ValueError, match=re.escape(words)):
        getattr(runner, loop)()


def test_a_parent_of_other_classes_can_lend_its_features(tmp_path):
    method = dict(type='mmhkt.GatedHKT', weights=dict(parent_head=0))
    cfg = tiny_config(tmp_path, method)
    another_class_count(cfg)
    run(cfg)


# ---------------------------------------------------------------------- zoo

PAIRS = {
    'pspnet-r50-r18':
    ('pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024',
     'pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024', 19, {}),
    'deeplabv3plus-r50-mobilenet-v2':
    ('mobilenet_v2/'
     'mobilenet-v2-d8_deeplabv3plus_4xb2-80k_cityscapes-512x1024',
     'deeplabv3plus/deeplabv3plus_r50-d8_4xb2-80k_cityscapes-512x1024', 19,
     {}),
    'segformer-b1-b0':
    ('segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512',
     'segformer/segformer_mit-b1_8xb2-160k_ade20k-512x512', 150, {}),
    'upernet-swin-t-hr18s':
    ('hrnet/fcn_hr18s_4xb4-160k_ade20k-512x512',
     'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512',
     150, {}),
    'unet': ('unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64',
             'unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64', 2, {
                 'model.backbone.base_channels': 8,
                 'model.decode_head.in_channels': 8,
                 'model.decode_head.channels': 8,
                 'model.auxiliary_head.in_channels': 16,
             }),
}


@pytest.mark.slow
@pytest.mark.parametrize('pair', PAIRS)
def test_pair(tmp_path, pair):
    """With the dense methods at once, from one forward pass of the parent."""
    child, parent, classes, options = PAIRS[pair]
    # What MGD learns would be larger than both networks.
    methods = [m for m in ALL if pair == 'unet' or m['type'] != 'mmhkt.MGD']
    runner = run(
        zoo_config(
            tmp_path, child, parent, classes, method=methods, **options))
    logged = runner.message_hub.log_scalars
    losses = {n: v.data[0] for n, v in logged.items() if 'loss' in n}
    for method in runner.inheritance.methods:
        assert any(n.startswith(f'train/{method.name}.') for n in losses)
    for name, values in losses.items():
        # Of a parent with tokens hints end within 10 % of the two steps.
        early = name == 'train/hkt.hint.loss' and pair.startswith('upernet')
        assert len(values) == 2 - early and np.isfinite(values).all(), name
    assert np.isfinite(logged['val/aAcc'].current())
    assert not {'mmcv.ops', 'mmcv._ext'} & set(sys.modules)
